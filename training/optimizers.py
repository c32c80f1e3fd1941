"""The optimizer and the parameter average of the 2016 code, and Nesterov's momentum."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from igan_zoo.training.distributed import World


class _Descent(torch.optim.Optimizer):
    """What the games need of an optimizer, beside its step."""

    parameters: list[Tensor]
    world: World

    @property
    def learning_rate(self) -> float:
        """The rate of the next step."""
        return float(self.param_groups[0]["lr"])

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        for group in self.param_groups:
            group["lr"] = value * group.get("scale", 1.0)

    def take_gradients(self, loss: Tensor) -> None:
        """Takes the gradient of ``loss`` for these parameters alone; the graph stays for other players."""
        gradients = torch.autograd.grad(loss, self.parameters, retain_graph=True)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient

    def count_steps(self) -> None:
        """Reads the number of steps from the state, after that was restored."""

    def restart(self) -> None:
        """Forgets all gradients so far.

        It is for a new objective, whose gradients may be of another size than those before.
        """
        raise NotImplementedError

    def descend(self) -> None:
        """One step down the gradients that are there, averaged over all processes; they are gone afterwards."""
        self.world.average(parameter.grad for parameter in self.parameters if parameter.grad is not None)
        self.step()
        self.zero_grad(set_to_none=True)


class Adam(_Descent, torch.optim.Adam):
    """Adam with epsilon inside the square root, as the 2016 code has it: ``lr · m̂ / sqrt(v̂ + 1e-8)``.

    torch adds epsilon outside the root. Both agree for large gradients; for small ones the step here is damped from
    a gradient of about 1e-4 downwards. The fused kernel of torch computes this form exactly when epsilon is fed in as a
    constant part of every squared gradient: with ``u = v + ε(1 - β₂ᵗ)`` the recurrence is
    ``uₜ = β₂uₜ₋₁ + (1 - β₂)(g² + ε)``, and ``u / (1 - β₂ᵗ) = v̂ + ε``. So the state named ``exp_avg_sq`` holds ``u``.

    ``epsilon_outside`` gives TensorFlow's form, which the 2016 ImageNet code has:
    ``lr · m̂ / (sqrt(v̂) + ε / sqrt(1 - β₂ᵗ))``. torch's own form does not divide epsilon by the bias correction, so its
    first steps along small gradients are longer. In a ``world`` of several processes the gradients are averaged over
    all of them before each step.
    """

    epsilon = 1e-8

    def __init__(
        self,
        parameters: Iterable[Tensor],
        learning_rate: float,
        beta1: float = 0.5,
        beta2: float = 0.999,
        *,
        epsilon_outside: bool = False,
        world: World | None = None,
    ) -> None:
        super().__init__(list(parameters), lr=learning_rate, betas=(beta1, beta2), eps=0.0, fused=True)
        self.parameters: list[Tensor] = self.param_groups[0]["params"]
        self.world = world or World()
        self._epsilon_outside = epsilon_outside
        self._carry = 0.0 if epsilon_outside else (1 - beta2) * self.epsilon / beta2
        self.restart()

    def restart(self) -> None:
        """Forgets all gradients so far.

        It is for a new objective: a gradient of another size than those before would make the first steps up to
        ``(1 - β₁) / sqrt(1 - β₂)``, that is 16 times, as long as the rate says.
        """
        for parameter in self.parameters:
            self.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        self._steps = 0

    def count_steps(self) -> None:
        """Reads the number of steps from the state, after that was restored."""
        self._steps = int(self.state[self.parameters[0]]["step"])

    def step(self, closure: Any = None) -> Any:
        """One step down the gradients that are there, which stay."""
        if self._carry:
            torch._foreach_add_([self.state[parameter]["exp_avg_sq"] for parameter in self.parameters], self._carry)
        self._steps += 1
        if self._epsilon_outside:
            _, beta2 = self.param_groups[0]["betas"]
            self.param_groups[0]["eps"] = self.epsilon / math.sqrt(1 - beta2**self._steps)
        return super().step(closure)


class NesterovMomentum(_Descent, torch.optim.SGD):
    """Gradient descent with Nesterov's momentum of 0.9; ``weight_decay`` acts on weights, not on gains and biases.

    The shifts of batch normalization, by name, take steps of ``shift_rate`` times the rate.
    """

    def __init__(
        self,
        parameters: Iterable[tuple[str, Tensor]],
        learning_rate: float,
        *,
        weight_decay: float = 0.0,
        shift_rate: float = 1.0,
        world: World | None = None,
    ) -> None:
        named = dict(parameters)
        self.parameters = list(named.values())
        shifts = [name for name in named if name.endswith("normalization.shift")]
        weights = [name for name in named if named[name].ndim > 1]
        others = named.keys() - weights - set(shifts)
        groups = [
            {"params": [named[name] for name in named if name in chosen], "weight_decay": decay, "scale": scale}
            for chosen, decay, scale in ((weights, weight_decay, 1.0), (others, 0.0, 1.0), (shifts, 0.0, shift_rate))
        ]
        super().__init__([group for group in groups if group["params"]], learning_rate, momentum=0.9, nesterov=True)
        self.learning_rate = learning_rate
        self.world = world or World()
        self.restart()

    def restart(self) -> None:
        """Forgets all gradients so far."""
        for parameter in self.parameters:
            self.state[parameter] = {"momentum_buffer": torch.zeros_like(parameter)}


class ParameterAverage:
    """An exponential average of a network's trainable parameters, used for testing (the 2016 code; not in the paper).

    ``a ← a + rate · (p - a)`` with the value of ``p`` from before the optimizer's step.

    # Differs from the 2016 code: there ``a`` starts at zero and is used as it is, so that early biases and scales are
    # shrunk by ``1 - (1 - rate)ᵗ``; :meth:`value` divides by that factor.
    """

    def __init__(self, network: nn.Module, rate: float) -> None:
        self.rate = rate
        self.updates = 0
        self._parameters = dict(network.named_parameters())
        self.totals = {name: torch.zeros_like(parameter) for name, parameter in self._parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Moves the average towards the present parameters; call it before the optimizer's step."""
        torch._foreach_lerp_(list(self.totals.values()), list(self._parameters.values()), self.rate)
        self.updates += 1

    def value(self) -> dict[str, Tensor]:
        """Returns the bias-corrected average by parameter name; the parameters themselves before any update."""
        if self.updates == 0:
            return {name: parameter.detach() for name, parameter in self._parameters.items()}
        correction = 1.0 - (1.0 - self.rate) ** self.updates
        return {name: total / correction for name, total in self.totals.items()}
