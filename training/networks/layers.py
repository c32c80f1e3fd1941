"""Layers of the 2016 networks that torch does not have, each usable and testable alone.

Shapes: ``N`` examples, ``F`` features. Everything is float32 unless the caller says otherwise, or autocast does.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812 - the field's usual name


def full_precision(values: Tensor) -> Tensor:
    """Returns what autocast computed in bfloat16 as float32, and other values as they are.

    Losses and statistics need more digits than matrix products.
    """
    return values.float() if values.dtype == torch.bfloat16 else values


def weight_norm_linear_reference(x: Tensor, direction: Tensor, scale: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    """Returns ``x · Wᵀ + bias`` with ``W = direction · scale / sqrt(epsilon + Σ direction²)``, by the formula.

    Shapes: ``x [N, inputs]``, ``direction [outputs, inputs]``, ``scale`` and ``bias [outputs]``; the result
    is ``[N, outputs]``. The sum runs over the inputs of each output.
    """
    weight = direction * (scale / torch.sqrt(epsilon + direction.square().sum(dim=1)))[:, None]
    return x @ weight.T + bias


def weight_norm_linear(x: Tensor, direction: Tensor, scale: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    """The same function as :func:`weight_norm_linear_reference`, scaling the outputs and not the weights.

    Forward reads the weights twice and writes none; backward adds the norm's share of the gradient inside the matrix
    product. Not differentiable twice. Where a compiler fuses operations, or autocast chooses their precision, the plain
    formula serves better.
    """
    if torch.compiler.is_compiling() or torch.is_autocast_enabled(x.device.type):
        return weight_norm_linear_reference(x, direction, scale, bias, epsilon)
    result: Tensor = _WeightNormLinear.apply(x, direction, scale, bias, epsilon)  # type: ignore[no-untyped-call]
    return result


class _WeightNormLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, direction: Tensor, scale: Tensor, bias: Tensor, epsilon: float) -> Tensor:
        squared_norm = torch.linalg.vector_norm(direction, dim=1).square_().add_(epsilon)
        inverse_norm = squared_norm.rsqrt_()
        gain = scale * inverse_norm
        unscaled = F.linear(x, direction)
        ctx.save_for_backward(x, direction, inverse_norm, gain, unscaled)
        return torch.addcmul(bias, unscaled, gain)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, direction, inverse_norm, gain, unscaled = ctx.saved_tensors
        need_x, need_direction, need_scale, need_bias, _ = ctx.needs_input_grad
        grad_unscaled = grad * gain
        grad_x = grad_unscaled @ direction if need_x else None
        grad_direction = grad_scale = None
        if need_direction or need_scale:
            grad_gain = (grad * unscaled).sum(dim=0)
            grad_scale = grad_gain * inverse_norm
            # d gain / d direction = -gain / norm² · direction
            grad_direction = direction * (-grad_gain * gain * inverse_norm.square())[:, None]
            grad_direction.addmm_(grad_unscaled.T, x)
        return grad_x, grad_direction, grad_scale, grad.sum(dim=0) if need_bias else None, None


class GaussianNoise(nn.Module):
    """Adds independent normal noise of the given standard deviation in training; nothing in evaluation."""

    def __init__(self, stddev: float) -> None:
        super().__init__()
        self.stddev = stddev

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return torch.randn_like(x).mul_(self.stddev).add_(x)

    def extra_repr(self) -> str:
        return f"stddev={self.stddev}"


class WeightNormLinear(nn.Module):
    """A dense layer ``y = (x · V / ‖V‖) · scale + bias``, the norm taken over each output's inputs.

    The 2016 code's older dense layer: ``V ~ N(0, 0.1)``, no epsilon in the norm, and a scale that data-dependent
    initialization sets and that is trained only where ``train_scale`` says so.
    See Salimans & Kingma, *Weight Normalization* (2016), section 3 for the initialization.
    """

    epsilon = 0.0
    direction: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, inputs: int, outputs: int, *, train_scale: bool = False) -> None:
        super().__init__()
        self.direction = nn.Parameter(torch.empty(outputs, inputs).normal_(std=0.1))
        self.bias = nn.Parameter(torch.zeros(outputs))
        if train_scale:
            self.scale = nn.Parameter(torch.ones(outputs))
        else:
            self.register_buffer("scale", torch.ones(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return weight_norm_linear(x, self.direction, self.scale, self.bias, self.epsilon)

    @torch.no_grad()
    def initialize(self, x: Tensor) -> Tensor:
        """Sets scale and bias so that each pre-activation has mean 0 and variance 1 on ``x``; returns those.

        The returned values are the normalised ones, so a whole network is initialised in one forward pass.
        """
        y = weight_norm_linear(x, self.direction, self.scale, torch.zeros_like(self.bias), self.epsilon)
        mean = y.mean(dim=0)
        centred = y - mean
        inverse_stddev = centred.square().mean(dim=0).rsqrt()
        self.bias.copy_(-mean * inverse_stddev)
        self.scale.mul_(inverse_stddev)
        return centred * inverse_stddev


class L2NormLinear(nn.Module):
    """A dense layer with a trainable gain per output over an l2-normalised weight (the MNIST generator's last).

    ``W = V · scale / sqrt(1e-6 + Σ V²)``; ``V`` is Glorot-uniform; no data-dependent initialization.
    """

    epsilon = 1e-6

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.direction = nn.Parameter(nn.init.xavier_uniform_(torch.empty(outputs, inputs)))
        self.scale = nn.Parameter(torch.ones(outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return weight_norm_linear(x, self.direction, self.scale, self.bias, self.epsilon)


class BatchNormShift(nn.Module):
    """Batch normalization of ``[N, F]`` or ``[N, C, H, W]`` with a trainable shift and no gain, as in 2016.

    In training it uses the statistics of the batch (biased variance, epsilon 1e-6 inside the root). In evaluation it
    uses the population statistics that :func:`set_population_statistics` measured.

    # Differs from the 2016 code: that declares running averages but never updates them, so its generators cannot
    # be run one image at a time. Here evaluation without measured statistics is an error.
    """

    epsilon = 1e-6
    population_mean: Tensor
    population_variance: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(features))
        # NaN until measured: using them before is loud, and the state dict has the same keys before and after.
        self.register_buffer("population_mean", torch.full((features,), torch.nan))
        self.register_buffer("population_variance", torch.full((features,), torch.nan))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            inverse_stddev = torch.rsqrt(self.population_variance + self.epsilon)
            shift = self.shift - self.population_mean * inverse_stddev
            along_channels = (-1, *[1] * (x.dim() - 2))
            return torch.addcmul(shift.view(along_channels), x, inverse_stddev.view(along_channels))
        if x.dim() > 2:
            return F.batch_norm(x, None, None, bias=self.shift, training=True, eps=self.epsilon)
        # Two plain means: torch's kernels over the first dimension alone take ten times as long on a CPU.
        x = full_precision(x)
        centred = x - x.mean(dim=0)
        return torch.addcmul(self.shift, centred, torch.rsqrt(centred.square().mean(dim=0) + self.epsilon))


@torch.no_grad()
def initialize_from_data(network: nn.Module, batch: Tensor) -> None:
    """Data-dependent initialization of every layer of ``network`` that has one, in one pass of ``batch``.

    ``network`` is a tree of ``nn.Sequential``; noise layers stay on, as in the 2016 code.
    """
    x = batch
    for module in _leaves(network):
        initialize = getattr(module, "initialize", None)
        x = initialize(x) if initialize is not None else module(x)


@torch.no_grad()
def set_population_statistics(network: nn.Module, inputs: Tensor) -> None:
    """Measures the population statistics of every batch normalization of ``network`` on one large batch.

    ``inputs`` should hold at least 10,000 latents; the whole batch passes in training mode, so each layer sees what
    its own normalization of that same population gives to the next.
    """
    x = inputs
    for module in _leaves(network):
        if isinstance(module, BatchNormShift):
            over = [dimension for dimension in range(x.dim()) if dimension != 1]
            variance, mean = torch.var_mean(x.double(), dim=over, correction=0)
            module.population_mean.copy_(mean)
            module.population_variance.copy_(variance)
        x = module(x)


def _leaves(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if not any(True for _ in module.children())]
