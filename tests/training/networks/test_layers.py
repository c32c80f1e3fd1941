"""Layers against their formulas."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from igan_zoo.training.networks.layers import (
    BatchNormShift,
    GaussianNoise,
    L2NormLinear,
    WeightNormLinear,
    initialize_from_data,
    set_population_statistics,
    weight_norm_linear,
    weight_norm_linear_reference,
)


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


def test_frozen_and_trainable_scales() -> None:
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


def test_noise_has_the_stated_deviation_in_training_and_none_in_evaluation() -> None:
    torch.manual_seed(0)
    noise = GaussianNoise(0.5)
    x = torch.full((400, 500), 3.0)
    noisy = noise(x)
    assert noisy.mean().item() == pytest.approx(3.0, abs=0.01)
    assert noisy.std().item() == pytest.approx(0.5, abs=0.01)
    assert noise.eval()(x) is x


def test_batch_norm_by_the_formula_in_training_and_evaluation() -> None:
    torch.manual_seed(0)
    layer = BatchNormShift(6).double()
    with torch.no_grad():
        layer.shift.uniform_(-1, 1)
    x = torch.randn(50, 6, dtype=torch.float64) * 4 + 2
    variance = x.var(dim=0, correction=0)
    torch.testing.assert_close(layer(x), (x - x.mean(dim=0)) / (variance + 1e-6).sqrt() + layer.shift)
    layer.population_mean.fill_(2.0)
    layer.population_variance.fill_(16.0)
    torch.testing.assert_close(layer.eval()(x), (x - 2) / (16 + 1e-6) ** 0.5 + layer.shift)


def test_batch_norm_without_measured_statistics_is_loud_in_evaluation() -> None:
    assert BatchNormShift(2).eval()(torch.zeros(1, 2)).isnan().all()


def test_population_statistics_make_evaluation_equal_training_on_the_population() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(4, 8, bias=False), BatchNormShift(8), nn.Softplus(), nn.Linear(8, 3, bias=False), BatchNormShift(3)
    )
    inputs = torch.rand(10_000, 4)
    in_training = network(inputs)
    set_population_statistics(network, inputs)
    torch.testing.assert_close(network.eval()(inputs), in_training, atol=1e-4, rtol=0)
