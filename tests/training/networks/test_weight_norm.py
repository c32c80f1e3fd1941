"""Weight normalization against its formula, and what the data-dependent initialization promises."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from igan_zoo.training.games import alternating
from igan_zoo.training.games.alternating import AlternatingGame
from igan_zoo.training.games.game import Batches
from igan_zoo.training.networks.layers import initialize_from_data
from igan_zoo.training.networks.weight_norm import (
    L2NormLinear,
    WeightNormConv2d,
    WeightNormConvTranspose2d,
    WeightNormDense,
    WeightNormLinear,
    weight_norm_linear,
    weight_norm_linear_reference,
)
from igan_zoo.training.recipes.catalogue import find_recipe
from igan_zoo.training.recipes.settings import customize

LAYERS = {
    "convolution": (lambda: WeightNormConv2d(3, 5, 3, stride=2, padding=1), (7, 3, 8, 8)),
    "network in network": (lambda: WeightNormConv2d(6, 4, 1), (7, 6, 5, 5)),
    "transposed": (lambda: WeightNormConvTranspose2d(4, 3, train_scale=True, initial_stddev=0.1), (7, 4, 4, 4)),
    "dense": (lambda: WeightNormDense(6, 4, train_scale=True, initial_stddev=0.1), (50, 6)),
}


@pytest.fixture(params=LAYERS)
def layer_and_input(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    make, shape = LAYERS[request.param]
    return make().double(), torch.randn(shape, dtype=torch.float64) * 3 + 1


def plain(layer: nn.Module, x: Tensor) -> Tensor:
    """The layer by the formula, one output after the other."""
    outputs = len(layer.bias)
    weight = layer.direction.detach().clone()
    for output in range(outputs):
        own = weight[:, output] if isinstance(layer, WeightNormConvTranspose2d) else weight[output]
        own *= layer.scale[output].detach() / (own**2).sum().add(1e-6).sqrt()
    if isinstance(layer, WeightNormDense):
        return x @ weight.T + layer.bias
    if isinstance(layer, WeightNormConvTranspose2d):
        return F.conv_transpose2d(x, weight, layer.bias, stride=2, padding=layer.padding, output_padding=1)
    return F.conv2d(x, weight, layer.bias, stride=layer.stride, padding=layer.padding)


def test_layers_compute_the_formula(layer_and_input: tuple[nn.Module, Tensor]) -> None:
    layer, x = layer_and_input
    with torch.no_grad():
        layer.scale.uniform_(0.5, 2)
        layer.bias.normal_()
    torch.testing.assert_close(layer(x), plain(layer, x), rtol=1e-10, atol=1e-12)


def test_the_length_of_a_direction_means_almost_nothing(layer_and_input: tuple[nn.Module, Tensor]) -> None:
    layer, x = layer_and_input
    before = layer(x)
    with torch.no_grad():
        layer.direction.mul_(100)
    # Only the epsilon of 1e-6 beside squared norms of about 0.01 tells them apart.
    torch.testing.assert_close(layer(x), before, rtol=1e-3, atol=1e-3)


def test_initialization_sets_mean_and_spread_and_returns_what_the_layer_then_computes(
    layer_and_input: tuple[nn.Module, Tensor],
) -> None:
    layer, x = layer_and_input
    returned = layer.initialize(x)
    over = [dimension for dimension in range(returned.dim()) if dimension != 1]
    torch.testing.assert_close(returned.mean(dim=over), torch.zeros_like(layer.bias), rtol=0, atol=1e-9)
    spread = returned.var(dim=over, correction=0).sqrt()
    torch.testing.assert_close(spread, torch.full_like(spread, layer.initial_stddev), rtol=1e-9, atol=0)
    torch.testing.assert_close(layer(x), returned, rtol=1e-9, atol=1e-9)


def test_scales_are_trained_only_where_asked() -> None:
    fixed, trained = WeightNormDense(3, 2), WeightNormDense(3, 2, train_scale=True)
    assert "scale" not in dict(fixed.named_parameters())
    assert "scale" in dict(trained.named_parameters())
    assert fixed.state_dict().keys() == trained.state_dict().keys()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_discriminator_computes_its_weights_once_for_all_steps_of_the_generator(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for its own step and once for three of the generator; the result is the same to the last bit."""
    settings = ["network_width=0.0625", "batch_size=4", f"precision={precision}"]
    recipe = customize(find_recipe("cifar10-mbd"), settings)
    torch.manual_seed(1)
    batches = Batches((torch.rand(4, 3, 32, 32), torch.arange(4)), (torch.rand(4, 3, 32, 32), None))
    honest, computed = WeightNormConv2d.weight, []
    monkeypatch.setattr(WeightNormConv2d, "weight", lambda layer: (computed.append(layer), honest(layer))[1])
    results = []
    for holding in (True, False):
        if not holding:
            monkeypatch.setattr(alternating, "held_weights", lambda network, dtype: nullcontext())
        torch.manual_seed(0)
        game = AlternatingGame(recipe, 10)
        computed.clear()
        game.step(batches)
        assert len(computed) == (2 if holding else 4) * len(set(computed))
        results.append({name: tensor.clone() for name, tensor in game.tensors().items()})
    torch.testing.assert_close(*results, rtol=0, atol=0, equal_nan=True)


def arguments(n: int, inputs: int, outputs: int, dtype: torch.dtype) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(n + 10 * inputs + 100 * outputs)
    shapes = [(n, inputs), (outputs, inputs), (outputs,), (outputs,)]
    return [torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes]


@pytest.mark.parametrize("epsilon", [0.0, 1e-6])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 2), (7, 64, 33), (100, 784, 50)])
def test_the_fast_weight_norm_equals_the_reference(
    shape: tuple[int, int, int], dtype: torch.dtype, tolerance: float, epsilon: float
) -> None:
    """Values and all four gradients, relative to the largest of each."""
    given = arguments(*shape, dtype)
    fast = weight_norm_linear(*given, epsilon)
    slow = weight_norm_linear_reference(*given, epsilon)
    grad = torch.randn(slow.shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    pairs = [
        (fast, slow),
        *zip(torch.autograd.grad(fast, given, grad), torch.autograd.grad(slow, given, grad), strict=True),
    ]
    scale = max(reference.abs().max().item() for _, reference in pairs)
    for result, reference in pairs:
        assert (result - reference).abs().max() <= tolerance * scale


def test_the_fast_weight_norm_passes_gradcheck_and_computes_only_what_is_asked() -> None:
    given = arguments(4, 6, 3, torch.float64)
    assert torch.autograd.gradcheck(lambda *tensors: weight_norm_linear(*tensors, 0.0), given)
    frozen = [given[0], *(tensor.detach() for tensor in given[1:])]
    assert torch.autograd.gradcheck(lambda x: weight_norm_linear(x, *frozen[1:], 0.0), (frozen[0],))


def test_the_length_of_the_direction_has_no_effect() -> None:
    x, direction, scale, bias = arguments(5, 8, 4, torch.float64)
    torch.testing.assert_close(
        weight_norm_linear(x, direction * 7, scale, bias, 0.0), weight_norm_linear(x, direction, scale, bias, 0.0)
    )


def test_scales_of_dense_layers_are_trained_only_where_asked() -> None:
    assert "scale" not in dict(WeightNormLinear(3, 2).named_parameters())
    assert "scale" in dict(WeightNormLinear(3, 2, train_scale=True).named_parameters())
    assert set(dict(L2NormLinear(3, 2).named_parameters())) == {"direction", "scale", "bias"}


def test_data_dependent_initialization_normalises_every_pre_activation() -> None:
    """After the pass, each unit of each layer has mean 0 and variance 1 on the same batch, layer by layer."""
    torch.manual_seed(0)
    first, second = WeightNormLinear(20, 30).double(), WeightNormLinear(30, 10, train_scale=True).double()
    network = nn.Sequential(nn.Sequential(first, nn.ReLU()), nn.Sequential(second))
    batch = torch.randn(500, 20, dtype=torch.float64) * 3 + 5
    initialize_from_data(network, batch)
    for activation in (first(batch), second(first(batch).relu())):
        torch.testing.assert_close(activation.mean(dim=0), torch.zeros_like(activation[0]), atol=1e-10, rtol=0)
        torch.testing.assert_close(activation.var(dim=0, correction=0), torch.ones_like(activation[0]))


def test_data_dependent_initialization_of_one_unit_by_hand() -> None:
    """x in {1, 3}, V = 2: the unit's pre-activation is x, of mean 2 and deviation 1, so scale 1 and bias -2."""
    layer = WeightNormLinear(1, 1)
    with torch.no_grad():
        layer.direction.fill_(2.0)
    returned = layer.initialize(torch.tensor([[1.0], [3.0]]))
    torch.testing.assert_close(returned, torch.tensor([[-1.0], [1.0]]))
    assert layer.scale.item() == pytest.approx(1.0)
    assert layer.bias.item() == pytest.approx(-2.0)
