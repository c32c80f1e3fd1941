"""The three forms of minibatch discrimination against naive loops in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from igan_zoo.ops.minibatch_discrimination import minibatch_discrimination
from igan_zoo.training.networks.layers import initialize_from_data
from igan_zoo.training.networks.minibatch import (
    MinibatchDiscrimination2016,
    PlainMinibatchDiscrimination,
    cross_similarity,
    frozen_minibatch_features,
    joint_minibatch_features,
)

# In float64; both sides add up in different orders.
TOLERANCE = {"rtol": 1e-9, "atol": 1e-12}


def numbers(*shape: int, seed: int = 0, scale: float = 0.5) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def closeness(a: Tensor, b: Tensor) -> list[float]:
    """``exp(-‖a - b‖₁)`` of each kernel, ``[B, C]`` each, in plain Python."""
    return [
        math.exp(-sum(abs(x - y) for x, y in zip(left, right, strict=True)))
        for left, right in zip(a.tolist(), b.tolist(), strict=True)
    ]


def summed(example: Tensor, others: list[Tensor], kernels: int) -> Tensor:
    total = [0.0] * kernels
    for other in others:
        total = [left + right for left, right in zip(total, closeness(example, other), strict=True)]
    return torch.tensor(total, dtype=torch.float64)


def test_similarities_by_plain_loops() -> None:
    here, there = numbers(4, 3, 2), numbers(5, 3, 2, seed=1)
    expected = torch.stack([summed(example, list(here), 3) for example in here])
    torch.testing.assert_close(minibatch_discrimination(here), expected, **TOLERANCE)
    expected = torch.stack([summed(example, list(there), 3) for example in here])
    torch.testing.assert_close(cross_similarity(here, there), expected, **TOLERANCE)


def layer2016(inputs: int, kernels: int, dimensions: int) -> MinibatchDiscrimination2016:
    """With scales and biases that matter."""
    torch.manual_seed(0)
    made = MinibatchDiscrimination2016(inputs, kernels, dimensions).double()
    with torch.no_grad():
        made.log_weight_scale.uniform_(-1, 1)
        made.bias.uniform_(-1, 1)
    return made


def distances2016(layer: MinibatchDiscrimination2016, x: Tensor) -> Tensor:
    """``d_ikj`` of the 2016 layer with 1e6 on the diagonal, by its formula, ``[N, kernels, N]``."""
    _, kernels, dimensions = layer.theta.shape
    weight = torch.empty_like(layer.theta)
    for kernel in range(kernels):
        for dimension in range(dimensions):
            column = layer.theta[:, kernel, dimension]
            weight[:, kernel, dimension] = (
                column * layer.log_weight_scale[kernel, dimension].exp() / column.square().sum().sqrt()
            )
    activations = torch.einsum("na,akd->nkd", x, weight)
    distances = (activations[:, :, None] - activations.transpose(0, 1)[None]).abs().sum(dim=3)
    return distances + 1e6 * torch.eye(len(x), dtype=x.dtype)[:, None]


@torch.no_grad()
def test_the_2016_layer_leaves_the_example_itself_out() -> None:
    layer, x = layer2016(6, 4, 3), numbers(5, 6)
    features = torch.exp(-distances2016(layer, x)).sum(dim=2) + layer.bias
    torch.testing.assert_close(layer(x), torch.cat([x, features], dim=1), **TOLERANCE)


@torch.no_grad()
def test_the_2016_layer_initialises_scales_and_biases_from_data() -> None:
    layer, x = layer2016(6, 4, 3), numbers(50, 6, scale=2.0)
    before = layer.log_weight_scale.clone()
    distances = distances2016(layer, x)
    radius = 0.5 * distances.amin(dim=2).mean(dim=0)
    features = torch.exp(-distances / radius[:, None]).sum(dim=2)
    returned = layer.initialize(x)
    torch.testing.assert_close(layer.log_weight_scale, before - radius.log()[:, None], **TOLERANCE)
    torch.testing.assert_close(layer.bias, -features.mean(dim=0), **TOLERANCE)
    torch.testing.assert_close(returned, torch.cat([x, features - features.mean(dim=0)], dim=1), **TOLERANCE)
    torch.testing.assert_close(layer(x), returned, **TOLERANCE)


def test_the_2016_layer_starts_as_its_code_and_takes_part_in_the_pass_of_initialization() -> None:
    torch.manual_seed(0)
    layer = MinibatchDiscrimination2016(192)
    assert sum(parameter.numel() for parameter in layer.parameters()) == 192 * 100 * 5 + 100 * 5 + 100
    assert layer.theta.std().item() == pytest.approx(0.05, rel=0.02)
    assert not layer.log_weight_scale.any()
    assert (layer.bias == -1).all()
    batch = torch.randn(40, 192)
    initialize_from_data(nn.Sequential(layer), batch)
    result = layer(batch)
    assert result.shape == (40, 292)
    assert result[:, 192:].mean(dim=0).abs().max() < 1e-4


def test_the_2016_layer_refuses_to_be_initialised_on_equal_examples() -> None:
    with pytest.raises(ValueError, match="3 examples that do not differ"):
        MinibatchDiscrimination2016(4, 2, 2).initialize(torch.ones(3, 4))


@torch.no_grad()
def test_the_papers_layer_counts_the_example_itself_and_has_only_a_tensor() -> None:
    torch.manual_seed(0)
    layer, x = PlainMinibatchDiscrimination(6, 4, 3).double(), numbers(5, 6, scale=3.0)
    assert set(dict(layer.named_parameters())) == {"tensor"}
    activations = torch.einsum("na,akd->nkd", x, layer.tensor)
    features = torch.stack([summed(example, list(activations), 4) for example in activations])
    torch.testing.assert_close(layer(x), torch.cat([x, features], dim=1), **TOLERANCE)


@pytest.mark.parametrize("form", [MinibatchDiscrimination2016, PlainMinibatchDiscrimination])
def test_gradients_of_the_layers_are_right(form: type[nn.Module]) -> None:
    torch.manual_seed(0)
    layer = form(3, 2, 2).double()
    assert torch.autograd.gradcheck(layer, (numbers(4, 3, scale=5.0).requires_grad_(),))


@pytest.mark.parametrize(("reals", "fakes"), [(4, 4), (3, 5)])
def test_imagenet_features_compare_real_and_generated_examples_of_the_joint_batch(reals: int, fakes: int) -> None:
    kernels = 3
    real, fake = numbers(reals, kernels, 2), numbers(fakes, kernels, 2, seed=1)
    joint = [*real, *fake]
    real_pairs = sum(i != j for i in range(len(joint)) for j in range(reals))
    fake_pairs = sum(i != j for i in range(len(joint)) for j in range(reals, len(joint)))
    rows = []
    for index, example in enumerate(joint):
        to_real = [other for j, other in enumerate(joint) if j != index and j < reals]
        to_fake = [other for j, other in enumerate(joint) if j != index and j >= reals]
        halves = summed(example, to_real, kernels) / real_pairs, summed(example, to_fake, kernels) / fake_pairs
        rows.append(torch.cat(halves))
    result = torch.cat(joint_minibatch_features(real, fake))
    torch.testing.assert_close(result, torch.stack(rows), **TOLERANCE)


def test_the_divisor_of_sixteen_real_and_sixteen_generated_examples_is_496() -> None:
    same = torch.zeros(16, 1, 1, dtype=torch.float64)
    real, fake = joint_minibatch_features(same, same)
    torch.testing.assert_close(real[0], torch.tensor([15 / 496, 16 / 496], dtype=torch.float64))
    torch.testing.assert_close(fake[0], torch.tensor([16 / 496, 15 / 496], dtype=torch.float64))


def test_imagenet_features_pass_gradients_between_real_and_generated_examples() -> None:
    real, fake = numbers(2, 2, 3).requires_grad_(), numbers(2, 2, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(joint_minibatch_features, (real, fake))
    (reached,) = torch.autograd.grad(joint_minibatch_features(real, fake)[0].sum(), fake)
    assert (reached.abs() > 0).all()


def test_frozen_features_compare_with_the_references_only() -> None:
    kernels = 3
    x, real, fake = (numbers(4, kernels, 2, seed=seed) for seed in range(3))
    rows = [torch.cat([summed(own, list(half), kernels) / (8 * 4) for half in (real, fake)]) for own in x]
    result = frozen_minibatch_features(x, real, fake)
    torch.testing.assert_close(result, torch.stack(rows), **TOLERANCE)
    torch.testing.assert_close(frozen_minibatch_features(x[1:2], real, fake), result[1:2], **TOLERANCE)


def test_frozen_features_have_the_scale_of_the_joint_ones() -> None:
    """Of equal examples, the two halves sum to 31 of 496 in a joint batch and to 32 of 512 here: the same."""
    same = torch.zeros(16, 1, 1, dtype=torch.float64)
    joint, _ = joint_minibatch_features(same, same)
    torch.testing.assert_close(frozen_minibatch_features(same, same, same).sum(dim=1), joint.sum(dim=1))
