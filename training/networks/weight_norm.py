"""Weight-normalized layers with data-dependent initialization: those of the 2016 CIFAR-10 networks, then of MNIST.

Salimans & Kingma, *Weight Normalization* (2016): ``W = V · scale / ‖V‖``, one norm for each output unit or channel.
Shapes: ``N`` examples, ``C`` channels, ``H`` and ``W`` pixels. float32 unless the caller says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812 - the field's usual name

# Of the directions V, normal with mean 0; their length means nothing, but the ratio of a step to it does.
DIRECTION_STDDEV = 0.05
EPSILON = 1e-6


def normalized_weight(direction: Tensor, scale: Tensor, output_dimension: int) -> Tensor:
    """Returns ``direction · scale / sqrt(1e-6 + Σ direction²)``, the sum over all but ``output_dimension``.

    ``scale`` is ``[outputs]``; the result has the shape of ``direction``.
    """
    others = [dimension for dimension in range(direction.dim()) if dimension != output_dimension]
    squared_norm = direction.square().sum(dim=others, keepdim=True)
    along_outputs = [-1 if dimension == output_dimension else 1 for dimension in range(direction.dim())]
    return direction * (scale.view(along_outputs) * torch.rsqrt(squared_norm + EPSILON))


class _WeightNorm(nn.Module):
    """What the three layers share: parameters, the effective weight and data-dependent initialization.

    The scale is set by the initialization and trained only where ``train_scale`` says so, as in the 2016 code.
    """

    direction: Tensor
    scale: Tensor
    bias: Tensor
    held: Tensor | None = None  # the effective weight, while held_weights() keeps it
    output_dimension = 0

    def __init__(self, shape: tuple[int, ...], *, train_scale: bool, initial_stddev: float) -> None:
        super().__init__()
        outputs = shape[self.output_dimension]
        self.initial_stddev = initial_stddev
        self.direction = nn.Parameter(torch.empty(shape).normal_(std=DIRECTION_STDDEV))
        self.bias = nn.Parameter(torch.zeros(outputs))
        if train_scale:
            self.scale = nn.Parameter(torch.ones(outputs))
        else:
            self.register_buffer("scale", torch.ones(outputs))

    def weight(self) -> Tensor:
        """Returns the effective weight, in the shape of ``direction``."""
        return normalized_weight(self.direction, self.scale, self.output_dimension)

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The layer's linear operation with the given weight and bias."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.apply_weight(x, self.weight() if self.held is None else self.held, self.bias)

    @torch.no_grad()
    def initialize(self, x: Tensor) -> Tensor:
        """Sets scale and bias so that every pre-activation has mean 0 and ``initial_stddev`` on ``x``; returns those.

        The mean runs over examples and places. The returned values are the normalized ones, so that a whole network is
        initialized in one forward pass.
        """
        y = self.apply_weight(x, self.weight(), None)
        over = [dimension for dimension in range(y.dim()) if dimension != 1]
        centered = y - (mean := y.mean(dim=over, keepdim=True))
        gain = self.initial_stddev * centered.square().mean(dim=over, keepdim=True).rsqrt()
        self.bias.copy_((-mean * gain).flatten())
        self.scale.mul_(gain.flatten())
        return centered * gain


@contextmanager
def held_weights(network: nn.Module, dtype: torch.dtype | None = None) -> Iterator[None]:
    """Computes the effective weights of a network once, and not in every forward pass, while it is not trained.

    ``dtype`` is the one that autocast would give them in each pass.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, _WeightNorm)]
    with torch.no_grad():
        for layer in layers:
            layer.held = layer.weight().to(dtype)
    try:
        yield
    finally:
        for layer in layers:
            layer.held = None


class WeightNormConv2d(_WeightNorm):
    """A convolution ``[N, inputs, H, W]`` to ``[N, outputs, H', W']`` with a weight-normalized square kernel."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int = 0,
        train_scale: bool = False,
        initial_stddev: float = 1.0,
    ) -> None:
        super().__init__((outputs, inputs, kernel, kernel), train_scale=train_scale, initial_stddev=initial_stddev)
        self.stride = stride
        self.padding = padding

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.conv2d(x, weight, bias, stride=self.stride, padding=self.padding)


class WeightNormConvTranspose2d(_WeightNorm):
    """A transposed 5x5 convolution of stride 2, doubling height and width, or 16 to 28 with ``padding`` 4.

    The weight is ``[inputs, outputs, 5, 5]`` and the norm runs over inputs and kernel.
    """

    output_dimension = 1

    def __init__(
        self, inputs: int, outputs: int, *, padding: int = 2, train_scale: bool = False, initial_stddev: float = 1.0
    ) -> None:
        super().__init__((inputs, outputs, 5, 5), train_scale=train_scale, initial_stddev=initial_stddev)
        self.padding = padding

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.conv_transpose2d(x, weight, bias, stride=2, padding=self.padding, output_padding=1)


class WeightNormDense(_WeightNorm):
    """A dense layer ``[N, inputs]`` to ``[N, outputs]``.

    It differs from :class:`WeightNormLinear`, of the 2016 MNIST script, in the spread of the directions, the epsilon
    and the spread after initialization.
    """

    def __init__(self, inputs: int, outputs: int, *, train_scale: bool = False, initial_stddev: float = 1.0) -> None:
        super().__init__((outputs, inputs), train_scale=train_scale, initial_stddev=initial_stddev)

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear(x, weight, bias)


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

        The returned values are the normalized ones, so a whole network is initialized in one forward pass.
        """
        y = weight_norm_linear(x, self.direction, self.scale, torch.zeros_like(self.bias), self.epsilon)
        mean = y.mean(dim=0)
        centered = y - mean
        inverse_stddev = centered.square().mean(dim=0).rsqrt()
        self.bias.copy_(-mean * inverse_stddev)
        self.scale.mul_(inverse_stddev)
        return centered * inverse_stddev


class L2NormLinear(nn.Module):
    """A dense layer with a trainable gain per output over an l2-normalized weight (the MNIST generator's last).

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
