"""A training step against a straightforward PyTorch version of the same step, interleaved in one process.

The plain version is what one writes from the paper first: separate passes for labelled, unlabelled and generated
images, the weight built in every forward pass, gradients of both players wherever autograd leads, torch's default Adam,
and a parameter average in a loop; convolutions in torch's default order of memory. The same networks and batch sizes,
in float32. igan-zoo's step is measured in float32 and, where the processor multiplies in it, in bfloat16.

    python benchmarks/train_step.py [--recipe mnist-ssl] [--set key=value] [--rounds 7] [--steps 30] [--threads 1]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable
from functools import partial
from itertools import pairwise

import torch
from msgspec.structs import replace
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's usual name

from igan_zoo.training.games.choice import new_game
from igan_zoo.training.games.game import Batches
from igan_zoo.training.games.players import GENERATOR_FILTERS
from igan_zoo.training.networks.players import scaled
from igan_zoo.training.precision import multiplies_in_bfloat16
from igan_zoo.training.recipes.catalogue import find_recipe
from igan_zoo.training.recipes.settings import Recipe, customize


class PlainWeightNorm(nn.Module):
    """Weight normalization around any layer whose outputs are the first dimension of its weight, or the second."""

    def __init__(self, layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> None:
        super().__init__()
        self.layer = layer
        self.outputs = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
        self.scale = nn.Parameter(torch.ones(layer.weight.shape[self.outputs]))

    def forward(self, x: Tensor) -> Tensor:
        direction, bias = self.layer.weight, self.layer.bias
        over = [dimension for dimension in range(direction.dim()) if dimension != self.outputs]
        along = [-1 if dimension == self.outputs else 1 for dimension in range(direction.dim())]
        weight = direction * (self.scale.view(along) / direction.square().sum(dim=over, keepdim=True).sqrt())
        match self.layer:
            case nn.Linear():
                return F.linear(x, weight, bias)
            case nn.Conv2d():
                return F.conv2d(x, weight, bias, stride=self.layer.stride, padding=self.layer.padding)
            case _:
                return F.conv_transpose2d(x, weight, bias, stride=2, padding=2, output_padding=1)


class PlainNoise(nn.Module):
    def __init__(self, stddev: float) -> None:
        super().__init__()
        self.stddev = stddev

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x) * self.stddev


def mnist_networks(_: Recipe) -> tuple[nn.Sequential, nn.Sequential, nn.Sequential]:
    def hidden(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs, eps=1e-6), nn.Softplus()]

    layers: list[nn.Module] = []
    for index, (inputs, outputs) in enumerate(pairwise((784, 1000, 500, 250, 250, 250))):
        layers += [PlainNoise(0.3 if index == 0 else 0.5), PlainWeightNorm(nn.Linear(inputs, outputs)), nn.ReLU()]
    generator = nn.Sequential(*hidden(100, 500), *hidden(500, 500), PlainWeightNorm(nn.Linear(500, 784)), nn.Sigmoid())
    head = nn.Sequential(PlainNoise(0.5), PlainWeightNorm(nn.Linear(250, 10)))
    return generator, nn.Sequential(*layers), head


def cifar10_networks(recipe: Recipe) -> tuple[nn.Sequential, nn.Sequential, nn.Sequential]:
    filters = scaled(recipe.discriminator_filters, recipe.network_width)
    maps = scaled(GENERATOR_FILTERS, recipe.network_width)
    wide = 2 * filters

    def up(inputs: int, outputs: int) -> list[nn.Module]:
        deconvolution = nn.ConvTranspose2d(inputs, outputs, 5, stride=2, padding=2, output_padding=1, bias=False)
        return [deconvolution, nn.BatchNorm2d(outputs, eps=1e-6), nn.ReLU()]

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [
            *layer(inputs, outputs),
            *layer(outputs, outputs),
            *layer(outputs, outputs, stride=2),
            nn.Dropout(recipe.dropout),
        ]

    def layer(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, padding: int = 1) -> list[nn.Module]:
        convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding)
        return [PlainWeightNorm(convolution), nn.LeakyReLU(0.2)]

    last = nn.ConvTranspose2d(maps // 4, 3, 5, stride=2, padding=2, output_padding=1)
    generator = nn.Sequential(
        nn.Linear(100, maps * 16, bias=False),
        nn.BatchNorm1d(maps * 16, eps=1e-6),
        nn.ReLU(),
        nn.Unflatten(1, (maps, 4, 4)),
        *up(maps, maps // 2),
        *up(maps // 2, maps // 4),
        PlainWeightNorm(last),
        nn.Tanh(),
    )
    body = nn.Sequential(
        nn.Dropout(recipe.input_dropout),
        *block(3, filters),
        *block(filters, wide),
        *layer(wide, wide, padding=0),
        *layer(wide, wide, kernel=1, padding=0),
        *layer(wide, wide, kernel=1, padding=0),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    return generator, body, nn.Sequential(PlainWeightNorm(nn.Linear(wide, 10)))


NETWORKS = {"mnist-ssl": mnist_networks, "cifar10-ssl": cifar10_networks}
SHAPES = {"mnist-ssl": (784,), "cifar10-ssl": (3, 32, 32)}


class PlainGame:
    """The straightforward version."""

    def __init__(self, recipe: Recipe) -> None:
        self.generator, self.body, self.head = NETWORKS[recipe.name](recipe)
        self.batch_size = recipe.batch_size
        self.absolute = recipe.objective == "feature-matching-absolute"
        self.parameters = [*self.body.parameters(), *self.head.parameters()]
        self.d_optimizer = self._adam(self.parameters, recipe.learning_rate)
        self.g_optimizer = self._adam(self.generator.parameters(), recipe.learning_rate)
        self.average = [parameter.detach().clone() for parameter in self.parameters]

    def _adam(self, parameters: Iterable[Tensor], rate: float) -> torch.optim.Adam:
        return torch.optim.Adam(parameters, lr=rate, betas=(0.5, 0.999))

    def step(self, labelled: Tensor, labels: Tensor, unlabelled: Tensor, other: Tensor) -> None:
        """One step of each player."""
        # The discriminator.
        fake = self.generator(torch.rand(self.batch_size, 100)).detach()
        logits_labelled = self.head(self.body(labelled))
        logits_real, logits_fake = self.head(self.body(unlabelled)), self.head(self.body(fake))
        supervised = F.cross_entropy(logits_labelled, labels)
        real, fake_z = logits_real.logsumexp(dim=1), logits_fake.logsumexp(dim=1)
        unsupervised = 0.5 * (F.softplus(real) - real).mean() + 0.5 * F.softplus(fake_z).mean()
        self.d_optimizer.zero_grad()
        (supervised + unsupervised).backward()
        self.d_optimizer.step()
        with torch.no_grad():
            for average, parameter in zip(self.average, self.parameters, strict=True):
                average += 0.0001 * (parameter - average)
        # The generator.
        matched = self.body(self.generator(torch.rand(self.batch_size, 100))).mean(dim=0)
        difference = self.body(other).mean(dim=0).detach() - matched
        loss = difference.abs().mean() if self.absolute else difference.square().mean()
        self.g_optimizer.zero_grad()
        loss.backward()
        self.g_optimizer.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=NETWORKS, default="mnist-ssl")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)

    recipe = customize(find_recipe(arguments.recipe), arguments.settings)
    size = recipe.batch_size
    images = [torch.rand(size, *SHAPES[recipe.name]) for _ in range(3)]
    labels = torch.arange(size) % 10
    plain = PlainGame(recipe)
    precisions = ["float32", *(["bfloat16"] if multiplies_in_bfloat16("cpu") else [])]
    games = {precision: new_game(replace(recipe, precision=precision), 10) for precision in precisions}
    laid_out = images if images[0].dim() == 2 else [x.contiguous(memory_format=torch.channels_last) for x in images]
    seen = Batches((laid_out[0], labels), (laid_out[1], laid_out[2]))

    # CPU time leaves out what other processes take, but adds up threads.
    clock = time.process_time if arguments.threads == 1 else time.perf_counter
    contestants: dict[str, Callable[[], object]] = {
        "plain": lambda: plain.step(images[0], labels, images[1], images[2]),
        **{precision: partial(game.step, seen) for precision, game in games.items()},
    }
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for round_number in range(arguments.rounds + 1):
        for name, step in contestants.items():
            started = clock()
            for _ in range(arguments.steps):
                step()
            ended = clock()
            # The first round warms up.
            if round_number > 0:
                times[name].append((ended - started) / arguments.steps * 1000)

    for name, measured in times.items():
        print(
            f"{name:9} {statistics.median(measured):6.1f} ms a step (best {min(measured):.1f}, {len(measured)} rounds)"
        )
    for precision in precisions:
        ratios = [a / b for a, b in zip(times["plain"], times[precision], strict=True)]
        print(f"plain / {precision}: {statistics.median(ratios):.2f} (from {min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
