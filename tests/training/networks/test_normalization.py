"""Normalizations against slow loops, and what their statistics may and may not depend on."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from igan_zoo.training.networks.normalization import (
    BatchNormShift,
    CrossBatchNorm,
    VirtualBatchNorm,
    set_population_statistics,
    virtual_batch_norm,
    virtual_batch_norm_reference,
)

EPSILON = 1e-5
# In float64; both sides add up in different orders.
TOLERANCE = {"rtol": 1e-9, "atol": 1e-12}


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 + 1


def layer(channels: int, references: int, *, gain: bool = True) -> VirtualBatchNorm:
    """With a shift and a gain that matter."""
    torch.manual_seed(0)
    made = VirtualBatchNorm(channels, references=references, gain=gain, gain_stddev=0.5).double()
    with torch.no_grad():
        made.shift.uniform_(-1, 1)
    return made


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    over = [0, *range(2, x.ndim)]
    return x.mean(dim=over), x.var(dim=over, correction=0)


@pytest.mark.parametrize("gain", [True, False])
@pytest.mark.parametrize("shape", [(5, 3, 4, 4), (1, 2, 3, 5), (5, 3), (1, 1)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_the_fast_virtual_batch_norm_equals_the_reference(
    shape: tuple[int, ...], gain: bool, dtype: torch.dtype, tolerance: float
) -> None:
    """Values and all gradients, relative to the largest of each."""
    statistics = [tensor.to(dtype).requires_grad_() for tensor in moments(numbers(4, *shape[1:], seed=1))]
    affine = [numbers(shape[1], seed=seed).to(dtype).requires_grad_() for seed in (2, 3)]
    live = numbers(*shape).to(dtype).requires_grad_()
    inputs = [live, *statistics, *(affine if gain else affine[1:])]
    gains = affine[0] if gain else None
    results = [
        function(live, *statistics, gains, affine[1], references=4, epsilon=EPSILON)
        for function in (virtual_batch_norm, virtual_batch_norm_reference)
    ]
    grad = numbers(*shape, seed=4).to(dtype)
    gradients = [torch.autograd.grad(result, inputs, grad) for result in results]
    for fast, slow in [(results[0], results[1]), *zip(*gradients, strict=True)]:
        assert (fast - slow).abs().max() <= tolerance * slow.abs().max().clamp(min=1)


@pytest.mark.parametrize("shape", [(3, 4, 4), (3,)])
def test_reference_rows_use_their_own_statistics_alone_and_live_rows_join_them(shape: tuple[int, ...]) -> None:
    references, norm = 4, layer(3, 4)
    x = numbers(references + 6, *shape)
    result = norm(x)
    mean, variance = moments(x[:references])
    like = (3, *[1] * (len(shape) - 1))
    stddev = (EPSILON + variance).sqrt()
    expected = (x[:references] - mean.reshape(like)) / stddev.reshape(like) * norm.gain.reshape(like)
    torch.testing.assert_close(result[:references], expected + norm.shift.reshape(like), **TOLERANCE)
    live = virtual_batch_norm_reference(
        x[references:], mean, variance, norm.gain, norm.shift, references=references, epsilon=EPSILON
    )
    torch.testing.assert_close(result[references:], live, **TOLERANCE)


def test_one_value_by_hand() -> None:
    """One reference 1 and one live value 3: the live one's mean is 2 and its variance 1, the reference's variance 0."""
    norm = VirtualBatchNorm(1, references=1, gain=False)
    torch.testing.assert_close(norm(torch.tensor([[1.0], [3.0]])), torch.tensor([[0.0], [1.0]]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 4, 4), (3,)])
def test_an_example_does_not_depend_on_other_live_ones_but_on_the_references(shape: tuple[int, ...]) -> None:
    norm, x = layer(3, 4), numbers(10, *shape)
    others, reference = x.clone(), x.clone()
    others[5:] += 7
    reference[0] += 7
    result = norm(x)
    torch.testing.assert_close(norm(others)[:5], result[:5], rtol=0, atol=0)
    assert (norm(reference)[4:] - result[4:]).abs().min() > 0


@pytest.mark.parametrize("gain", [True, False])
@pytest.mark.parametrize("shape", [(2, 2, 2), (2,)])
def test_gradients_are_right_and_reach_the_references(shape: tuple[int, ...], gain: bool) -> None:
    norm, x = layer(2, 3, gain=gain), numbers(5, *shape).requires_grad_()
    assert torch.autograd.gradcheck(norm, (x,))
    (through_live,) = torch.autograd.grad(norm(x)[3:].square().sum(), x)
    assert (through_live[:3].abs() > 0).all()


@pytest.mark.parametrize("shape", [(3, 4, 4), (3,)])
def test_evaluation_equals_training_without_the_references_and_in_any_batch(shape: tuple[int, ...]) -> None:
    norm, x = layer(3, 4), numbers(10, *shape)
    in_training = norm(x)[4:]
    norm.eval()
    torch.testing.assert_close(norm(x[4:]), in_training, **TOLERANCE)
    torch.testing.assert_close(norm(x[4:5]), in_training[:1], **TOLERANCE)
    assert not norm.population_mean.requires_grad


def test_the_references_alone_may_pass() -> None:
    norm, x = layer(3, 4), numbers(4, 3, 2, 2)
    assert norm(x).shape == x.shape
    assert norm.population_mean.isfinite().all()
    with pytest.raises(ValueError, match="3 rows, but must begin with 4 reference rows"):
        norm(x[:3])


@pytest.mark.parametrize("norm", [VirtualBatchNorm(2, references=3), CrossBatchNorm(2)])
def test_evaluation_before_any_training_pass_is_loud(norm: torch.nn.Module) -> None:
    assert norm.eval()(torch.zeros(1, 2)).isnan().all()


def test_gain_and_shift_start_as_in_the_2016_code() -> None:
    torch.manual_seed(0)
    for norm in (VirtualBatchNorm(4000, references=1), CrossBatchNorm(4000)):
        assert norm.gain is not None
        assert norm.gain.mean().item() == pytest.approx(1.0, abs=0.002)
        assert norm.gain.std().item() == pytest.approx(0.02, rel=0.05)
        assert not norm.shift.any()
    assert set(dict(VirtualBatchNorm(4, references=1, gain=False).named_parameters())) == {"shift"}


def test_a_constant_is_normalised_to_the_shift() -> None:
    """Its variance is zero, and rounding cannot make it negative."""
    constant = torch.full((3, 1, 8, 8), 1234.567)
    norm = VirtualBatchNorm(1, references=2, gain=False)
    torch.testing.assert_close(norm(constant), torch.zeros_like(constant), rtol=0, atol=0.1)


NORMALIZATIONS = {
    "virtual": lambda: VirtualBatchNorm(4, references=8),
    "cross": lambda: CrossBatchNorm(4),
    "batch": lambda: BatchNormShift(4),
}


@pytest.mark.parametrize("name", NORMALIZATIONS)
@pytest.mark.parametrize("shape", [(64, 4), (64, 4, 5, 5)])
def test_statistics_of_bfloat16_activations_are_float32(name: str, shape: tuple[int, ...]) -> None:
    """A mean of 30 deviations: what autocast gives is normalised as if by float64, in training and evaluation."""
    torch.manual_seed(0)
    norm = NORMALIZATIONS[name]()
    x = (numbers(*shape).sub(1).div(2) + 30).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        result = norm(x)
    expected = copy.deepcopy(norm).double()(x.double())
    assert expected.std().item() == pytest.approx(1, abs=0.1)
    # torch's own kernel rounds its result to bfloat16, and nothing before.
    tolerance = 1e-2 if result.dtype == torch.bfloat16 else 1e-4
    torch.testing.assert_close(result.double(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_a_mean_of_thousands_of_deviations_costs_few_digits(name: str) -> None:
    torch.manual_seed(0)
    norm = NORMALIZATIONS[name]()
    x = (numbers(64, 4, 5, 5).sub(1).div(2) + 4000).float()
    expected = copy.deepcopy(norm).double()(x.double())
    torch.testing.assert_close(norm(x).double(), expected, rtol=0, atol=5e-3)


@pytest.mark.parametrize("shape", [(6, 3, 5), (6,)])
def test_cross_batch_norm_takes_half_the_channels_from_each_half_of_the_batch(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    norm = CrossBatchNorm(6, gain_stddev=0.5).double()
    with torch.no_grad():
        norm.shift.uniform_(-1, 1)
    x = numbers(8, *shape)
    result = norm(x)
    for channel in range(6):
        source = x[:4, channel] if channel < 3 else x[4:, channel]
        stddev = (source.var(correction=0) + EPSILON).sqrt()
        expected = (x[:, channel] - source.mean()) / stddev * norm.gain[channel] + norm.shift[channel]
        torch.testing.assert_close(result[:, channel], expected, **TOLERANCE)


@pytest.mark.parametrize("shape", [(2, 2, 2), (2,)])
def test_gradients_of_cross_batch_norm_are_right(shape: tuple[int, ...]) -> None:
    assert torch.autograd.gradcheck(CrossBatchNorm(2).double(), (numbers(6, *shape).requires_grad_(),))


def test_evaluation_of_cross_batch_norm_is_row_by_row_with_the_last_statistics() -> None:
    norm, x = CrossBatchNorm(4).double(), numbers(6, 4, 3, 3)
    in_training = norm(x)
    norm.eval()
    torch.testing.assert_close(norm(x), in_training, **TOLERANCE)
    torch.testing.assert_close(norm(x[2:3]), in_training[2:3], **TOLERANCE)


def test_cross_batch_norm_refuses_what_has_no_halves() -> None:
    with pytest.raises(ValueError, match="in two halves"):
        CrossBatchNorm(5)
    with pytest.raises(ValueError, match="has 3 rows"):
        CrossBatchNorm(2)(torch.zeros(3, 2))


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
