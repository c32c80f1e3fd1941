"""The optimizer and the average against float64 computations of their formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from igan_zoo.training.optimizers import Adam, NesterovMomentum, ParameterAverage


def adam_reference(start: float, gradients: list[float], rate: float) -> float:
    """The 2016 code's Adam in float64: epsilon inside the square root."""
    p, m, v = start, 0.0, 0.0
    for t, g in enumerate(gradients, start=1):
        m = 0.5 * m + 0.5 * g
        v = 0.999 * v + 0.001 * g * g
        p -= rate * (m / (1 - 0.5**t)) / np.sqrt(v / (1 - 0.999**t) + 1e-8)
    return p


@pytest.mark.parametrize("size", [1e-7, 1e-5, 1e-4, 1e-2, 1.0, 1e3])
def test_adam_has_epsilon_inside_the_square_root(size: float) -> None:
    """Within 0.1 % of the distance moved, from gradients far below the damping to far above it."""
    generator = np.random.default_rng(0)
    gradients = (generator.normal(1, 1, 60) * size).tolist()
    parameter = nn.Parameter(torch.tensor([0.25]))
    optimizer = Adam([parameter], 0.003)
    for gradient in gradients:
        (parameter * gradient).sum().backward()
        optimizer.descend()
    moved = adam_reference(0.25, gradients, 0.003) - 0.25
    assert parameter.item() - 0.25 == pytest.approx(moved, rel=1e-3, abs=3e-8)


def tensorflow_reference(start: float, gradients: list[float], rate: float) -> float:
    """TensorFlow's Adam in float64: epsilon outside the root of the uncorrected second moment."""
    p, m, v = start, 0.0, 0.0
    for t, g in enumerate(gradients, start=1):
        m = 0.5 * m + 0.5 * g
        v = 0.999 * v + 0.001 * g * g
        p -= rate * np.sqrt(1 - 0.999**t) / (1 - 0.5**t) * m / (np.sqrt(v) + 1e-8)
    return p


@pytest.mark.parametrize("size", [1e-8, 1e-7, 1e-6, 1e-4, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 60])
def test_adam_of_imagenet_is_tensorflows(size: float, steps: int) -> None:
    """Also where the state was restored half way."""
    gradients = (np.random.default_rng(0).normal(1, 1, steps) * size).tolist()
    parameter = nn.Parameter(torch.tensor([0.25]))
    optimizer = Adam([parameter], 0.003, epsilon_outside=True)
    for index, gradient in enumerate(gradients):
        if index == steps // 2:
            state = {name: tensor.clone() for name, tensor in optimizer.state[parameter].items()}
            optimizer = Adam([parameter], 0.003, epsilon_outside=True)
            for name, tensor in state.items():
                optimizer.state[parameter][name].copy_(tensor)
            optimizer.count_steps()
        (parameter * gradient).sum().backward()
        optimizer.descend()
    moved = tensorflow_reference(0.25, gradients, 0.003) - 0.25
    assert parameter.item() - 0.25 == pytest.approx(moved, rel=1e-3, abs=3e-8)


def test_torchs_own_adam_differs_where_gradients_are_small() -> None:
    """Guards the test above: it would notice epsilon outside the root."""
    parameter = nn.Parameter(torch.tensor([0.25]))
    optimizer = torch.optim.Adam([parameter], lr=0.003, betas=(0.5, 0.999), eps=1e-8)
    for _ in range(60):
        optimizer.zero_grad()
        (parameter * 1e-5).sum().backward()
        optimizer.step()
    moved = adam_reference(0.25, [1e-5] * 60, 0.003) - 0.25
    assert abs(parameter.item() - 0.25) > 5 * abs(moved)


def steps_of(gradients: list[float], *, restart_before_the_last: bool) -> list[float]:
    """How far each step moves a parameter, in units of the rate."""
    parameter = nn.Parameter(torch.tensor([0.0], dtype=torch.float64))
    optimizer = Adam([parameter], 1e-3)
    steps = []
    for number, gradient in enumerate(gradients, 1):
        if restart_before_the_last and number == len(gradients):
            optimizer.restart()
        before = parameter.item()
        (parameter * gradient).sum().backward()
        optimizer.descend()
        steps.append((before - parameter.item()) / 1e-3)
    return steps


def test_after_a_restart_a_gradient_of_another_size_makes_an_ordinary_step() -> None:
    gradients = [1e-2] * 3000 + [10.0]
    assert steps_of(gradients, restart_before_the_last=True)[-1] == pytest.approx(1, rel=1e-3)
    assert steps_of(gradients, restart_before_the_last=False)[-1] > 15


def test_the_average_of_a_constant_is_that_constant_from_the_first_update_on() -> None:
    network = nn.Linear(2, 1)
    average = ParameterAverage(network, 0.0001)
    for _ in range(3):
        average.update()
        for name, value in average.value().items():
            torch.testing.assert_close(value, network.get_parameter(name).detach(), rtol=1e-4, atol=0)


def test_the_average_weighs_the_past_as_stated() -> None:
    """p = 1, then 2, then 4 at rate 0.5: weights 1/8, 1/4, 1/2 over their sum 7/8."""
    network = nn.Linear(1, 1, bias=False)
    average = ParameterAverage(network, 0.5)
    for value in (1.0, 2.0, 4.0):
        with torch.no_grad():
            network.weight.fill_(value)
        average.update()
    assert average.value()["weight"].item() == pytest.approx((1 / 8 + 2 / 4 + 4 / 2) / (7 / 8))


def test_before_any_update_the_average_is_the_parameters() -> None:
    network = nn.Linear(2, 1)
    torch.testing.assert_close(ParameterAverage(network, 0.1).value()["weight"], network.weight.detach())


def test_shifts_of_normalizations_take_longer_steps_and_no_decay() -> None:
    network = nn.ModuleDict({"convolution": nn.Linear(1, 1), "normalization": nn.Module()})
    network["normalization"].shift = nn.Parameter(torch.zeros(1))
    for parameter in network.parameters():
        nn.init.ones_(parameter)
    optimizer = NesterovMomentum(network.named_parameters(), 0.1, weight_decay=0.5, shift_rate=8.0)
    optimizer.learning_rate = 0.01
    sum(parameter.sum() for parameter in network.parameters()).backward()
    optimizer.descend()
    # The first step of Nesterov's momentum is 1.9 gradients long.
    expected = {"convolution.weight": 1.9 * 1.5, "convolution.bias": 1.9, "normalization.shift": 1.9 * 8}
    moved = {name: (1 - parameter.item()) / 0.01 for name, parameter in network.named_parameters()}
    assert moved == pytest.approx(expected, rel=1e-4)
