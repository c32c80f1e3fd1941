"""Normalizations of activations: over the batch, as on MNIST and CIFAR-10, or over chosen rows of it, as on ImageNet.

Activations are ``[N, C, H, W]`` or ``[N, C]``, floating point; statistics are per channel, over rows and space. Of
bfloat16 activations, which autocast makes, statistics and results are float32.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's usual name

from igan_zoo.training.networks.layers import full_precision, leaves


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
        centered = x - x.mean(dim=0)
        return torch.addcmul(self.shift, centered, torch.rsqrt(centered.square().mean(dim=0) + self.epsilon))


@torch.no_grad()
def set_population_statistics(network: nn.Module, inputs: Tensor) -> None:
    """Measures the population statistics of every batch normalization of ``network`` on one large batch.

    ``inputs`` should hold at least 10,000 latents; the whole batch passes in training mode, so each layer sees what
    its own normalization of that same population gives to the next.
    """
    x = inputs
    for module in leaves(network):
        if isinstance(module, BatchNormShift):
            over = [dimension for dimension in range(x.dim()) if dimension != 1]
            variance, mean = torch.var_mean(x.double(), dim=over, correction=0)
            module.population_mean.copy_(mean)
            module.population_variance.copy_(variance)
        x = module(x)


def virtual_batch_norm_reference(
    live: Tensor,
    mean: Tensor,
    variance: Tensor,
    gain: Tensor | None,
    shift: Tensor,
    *,
    references: int,
    epsilon: float,
) -> Tensor:
    """Normalizes each live example with the reference statistics and itself, one after the other, by the formula.

    An example joins the ``references`` ones as one more: with ``c = 1 / (references + 1)``, its statistics are
    ``c · own + (1 - c) · reference``, for the mean and for the mean square (paper, section 3.5, and the 2016 code since
    May 2017). Own statistics are over space only; without space, the value itself and its square.

    Shapes: ``live [N, C, H, W]`` or ``[N, C]``; ``mean``, ``variance``, ``gain`` (None for 1) and ``shift`` ``[C]``;
    the result is shaped like ``live``.
    """
    share = 1 / (references + 1)
    mean_square = variance + mean.square()
    rows = []
    for example in live:
        planes = example.reshape(len(mean), -1)  # (C, H * W)
        joint_mean = share * planes.mean(dim=1) + (1 - share) * mean
        joint_mean_square = share * planes.square().mean(dim=1) + (1 - share) * mean_square
        stddev = torch.sqrt(epsilon + joint_mean_square - joint_mean.square())
        normalized = (planes - joint_mean[:, None]) / stddev[:, None]
        scaled = normalized if gain is None else normalized * gain[:, None]
        rows.append((scaled + shift[:, None]).reshape(example.shape))
    return torch.stack(rows)


def virtual_batch_norm(
    live: Tensor,
    mean: Tensor,
    variance: Tensor,
    gain: Tensor | None,
    shift: Tensor,
    *,
    references: int,
    epsilon: float,
) -> Tensor:
    """The same function as :func:`virtual_batch_norm_reference`, of all rows at once and in float32 or better.

    Moments are taken about the reference mean, where their difference loses no digits: an example's share of the mean
    square is larger than the square of its share of the mean.
    """
    centered = full_precision(live) - _like(mean, live)
    joint_mean, joint_variance = _joined(*_moments(centered), variance, references)
    return _normalized(centered, joint_mean, joint_variance, gain, shift, epsilon)


class VirtualBatchNorm(nn.Module):
    """Virtual batch normalization (paper, section 3.5): each example is normalized by a reference batch and itself.

    In training the input is the activations of the reference batch, ``references`` rows, followed by the live ones, and
    the output likewise. Reference rows are normalized by their own statistics alone, live rows by
    :func:`virtual_batch_norm`; gradients flow through the reference statistics. Each such pass keeps a copy of these
    statistics, and evaluation, which takes live rows only, uses them: an example never depends on others in its batch.
    After the last update of the weights one more pass in training mode brings the copies up to date.

    ``gain=False`` leaves a trainable shift only. The gain starts at N(1, ``gain_stddev``), the shift at 0.

    # Differs from the 2016 code: that runs the reference batch at every use, and so needs no copies.
    """

    gain: nn.Parameter | None
    population_mean: Tensor
    population_variance: Tensor

    def __init__(
        self,
        channels: int,
        *,
        references: int,
        epsilon: float = 1e-5,
        gain_stddev: float = 0.02,
        gain: bool = True,
    ) -> None:
        super().__init__()
        self.references = references
        self.epsilon = epsilon
        initial_gain = nn.Parameter(torch.empty(channels).normal_(1.0, gain_stddev)) if gain else None
        self.register_parameter("gain", initial_gain)
        self.shift = nn.Parameter(torch.zeros(channels))
        # NaN until a pass in training mode: using them before is loud.
        self.register_buffer("population_mean", torch.full((channels,), torch.nan))
        self.register_buffer("population_variance", torch.full((channels,), torch.nan))

    def forward(self, x: Tensor) -> Tensor:
        """Normalizes ``[references + N, C, ...]`` in training and ``[N, C, ...]`` in evaluation.

        Raises:
            ValueError: there are fewer rows than references, in training.
        """
        if not self.training:
            return virtual_batch_norm(
                x,
                self.population_mean,
                self.population_variance,
                self.gain,
                self.shift,
                references=self.references,
                epsilon=self.epsilon,
            )
        if len(x) < self.references:
            raise ValueError(f"the batch has {len(x)} rows, but must begin with {self.references} reference rows")
        x = full_precision(x)
        # All rows are of one size: the mean of their means is the mean over rows and space.
        mean = _over_space(x[: self.references]).mean(dim=0)
        centered = x - _like(mean, x)
        own_mean, own_mean_square = _moments(centered)
        variance = own_mean_square[: self.references].mean(dim=0)
        with torch.no_grad():
            self.population_mean.copy_(mean)
            self.population_variance.copy_(variance)
        joint_mean, joint_variance = _joined(
            own_mean[self.references :], own_mean_square[self.references :], variance, self.references
        )
        return _normalized(
            centered,
            torch.cat([joint_mean.new_zeros(self.references, len(mean)), joint_mean]),
            torch.cat([variance.expand(self.references, -1), joint_variance]),
            self.gain,
            self.shift,
            self.epsilon,
        )

    def extra_repr(self) -> str:
        return f"{len(self.shift)}, references={self.references}, epsilon={self.epsilon}, gain={self.gain is not None}"


class CrossBatchNorm(nn.Module):
    """The batch normalization of the 2016 ImageNet discriminator, which lets every image see both halves of the batch.

    In training the input is ``B`` real rows followed by ``B`` generated ones. The first half of the channels is
    normalized, in all rows, by the statistics of the real rows, the second half by those of the generated rows (biased
    variance, ``epsilon`` inside the root). Gain starts at N(1, 0.02), shift at 0. Each such pass keeps a copy of the
    statistics, and evaluation uses them, so that each row is independent of the others.

    # Differs from the 2016 code: that has no evaluation mode.
    """

    population_mean: Tensor
    population_variance: Tensor

    def __init__(self, channels: int, *, epsilon: float = 1e-5, gain_stddev: float = 0.02) -> None:
        if channels % 2:
            raise ValueError(f"the channels are normalized in two halves, so {channels} of them cannot be")
        super().__init__()
        self.epsilon = epsilon
        self.gain = nn.Parameter(torch.empty(channels).normal_(1.0, gain_stddev))
        self.shift = nn.Parameter(torch.zeros(channels))
        # NaN until a pass in training mode: using them before is loud.
        self.register_buffer("population_mean", torch.full((channels,), torch.nan))
        self.register_buffer("population_variance", torch.full((channels,), torch.nan))

    def forward(self, x: Tensor) -> Tensor:
        """Normalizes the joint batch ``[2B, C, ...]`` in training, ``[N, C, ...]`` row by row in evaluation.

        Raises:
            ValueError: the rows cannot be halved, in training.
        """
        x = full_precision(x)
        mean, variance = self._statistics(x) if self.training else (self.population_mean, self.population_variance)
        return _affine(x, mean, torch.rsqrt(variance + self.epsilon) * self.gain, self.shift)

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if len(x) % 2:
            raise ValueError(f"a joint batch needs as many real rows as generated ones, but this one has {len(x)} rows")
        rows, channels = len(x) // 2, x.shape[1] // 2
        x = torch.cat([x[:rows, :channels], x[rows:, channels:]], dim=1)  # (B, C, ...)
        over = [dimension for dimension in range(x.ndim) if dimension != 1]
        mean = x.mean(dim=over)
        variance = (x - _like(mean, x)).square().mean(dim=over)
        with torch.no_grad():
            self.population_mean.copy_(mean)
            self.population_variance.copy_(variance)
        return mean, variance

    def extra_repr(self) -> str:
        return f"{len(self.shift)}, epsilon={self.epsilon}"


class RealBatchNorm(nn.Module):
    """Batch normalization of ``[N, C, H, W]`` by real images, whose statistics generated images borrow.

    In training, rows are normalized by their own statistics, which are kept (the variance unbiased). While
    ``borrowing`` is true, and in evaluation, the kept statistics are used: generated images are seen as real ones would
    be, and cannot change how these are seen. Before evaluation, one large pass in training mode measures them.
    ``gain=False`` leaves a trainable shift only.
    """

    gain: Tensor
    population_mean: Tensor
    population_variance: Tensor

    def __init__(self, channels: int, *, epsilon: float = 1e-5, gain: bool = True) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.borrowing = False
        ones = torch.ones(channels)
        if gain:
            self.gain = nn.Parameter(ones)
        else:
            self.register_buffer("gain", ones, persistent=False)
        self.shift = nn.Parameter(torch.zeros(channels))
        self.register_buffer("population_mean", torch.zeros(channels))
        self.register_buffer("population_variance", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(
            x,
            self.population_mean,
            self.population_variance,
            self.gain,
            self.shift,
            training=self.training and not self.borrowing,
            momentum=1.0,  # keep this batch's statistics and no earlier ones
            eps=self.epsilon,
        )

    def extra_repr(self) -> str:
        return f"{len(self.shift)}, epsilon={self.epsilon}"


def _over_space(x: Tensor) -> Tensor:
    """Returns the mean of each row over space, ``[N, C]``."""
    return x if x.ndim == 2 else x.mean(dim=(2, 3))


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns each row's mean and mean square over space, both ``[N, C]``."""
    return _over_space(x), _over_space(x.square())


def _joined(own_mean: Tensor, own_mean_square: Tensor, variance: Tensor, references: int) -> tuple[Tensor, Tensor]:
    """Returns mean and variance ``[N, C]`` of the references and one more; all moments are about the reference mean."""
    share = 1 / (references + 1)
    joint_mean = share * own_mean
    return joint_mean, (1 - share) * variance + share * own_mean_square - joint_mean.square()


def _normalized(
    x: Tensor, mean: Tensor, variance: Tensor, gain: Tensor | None, shift: Tensor, epsilon: float
) -> Tensor:
    scale = torch.rsqrt(variance + epsilon)
    return _affine(x, mean, scale if gain is None else scale * gain, shift)


def _affine(x: Tensor, mean: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Returns ``(x - mean) · scale + shift``, reading ``x`` once; ``mean`` and ``scale`` are ``[N, C]`` or ``[C]``."""
    return torch.addcmul(_like(shift - mean * scale, x), x, _like(scale, x))


def _like(statistic: Tensor, x: Tensor) -> Tensor:
    """Returns ``[N, C]`` or ``[C]`` with the dimensions of space that ``x`` has, of size one."""
    return statistic.reshape(*statistic.shape, *[1] * (x.ndim - 2))
