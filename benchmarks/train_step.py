"""The MNIST training step against a straightforward PyTorch version of the same step, interleaved in one process.

The plain version is what one writes from the paper first: separate passes for labelled, unlabelled and generated
images, the weight built in every forward pass, gradients of both players wherever autograd leads, torch's default Adam,
and a parameter average in a loop. The same networks, batch sizes and data types.

    python benchmarks/train_step.py [--rounds 7] [--steps 30] [--threads 1]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's usual name

from igan_zoo.training.loop import Game
from igan_zoo.training.recipes import MNIST_SSL

BATCH = MNIST_SSL.batch_size


class PlainWeightNorm(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.direction = nn.Parameter(torch.randn(outputs, inputs) * 0.1)
        self.scale = nn.Parameter(torch.ones(outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.direction * (self.scale / self.direction.norm(dim=1))[:, None]
        return F.linear(x, weight, self.bias)


class PlainNoise(nn.Module):
    def __init__(self, stddev: float) -> None:
        super().__init__()
        self.stddev = stddev

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x) * self.stddev


class PlainGame:
    """The straightforward version."""

    def __init__(self) -> None:
        def hidden(inputs: int, outputs: int) -> list[nn.Module]:
            return [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs, eps=1e-6), nn.Softplus()]

        layers: list[nn.Module] = []
        widths = (784, 1000, 500, 250, 250, 250)
        for i in range(5):
            layers += [PlainNoise(0.3 if i == 0 else 0.5), PlainWeightNorm(widths[i], widths[i + 1]), nn.ReLU()]
        self.generator = nn.Sequential(*hidden(100, 500), *hidden(500, 500), PlainWeightNorm(500, 784), nn.Sigmoid())
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(PlainNoise(0.5), PlainWeightNorm(250, 10))
        discriminator = [*self.body.parameters(), *self.head.parameters()]
        self.d_optimizer = torch.optim.Adam(discriminator, lr=0.003, betas=(0.5, 0.999))
        self.g_optimizer = torch.optim.Adam(self.generator.parameters(), lr=0.003, betas=(0.5, 0.999))
        self.parameters = discriminator
        self.average = [parameter.detach().clone() for parameter in discriminator]

    def step(self, labelled: Tensor, labels: Tensor, unlabelled: Tensor, other: Tensor) -> None:
        """One step of each player."""
        # The discriminator.
        fake = self.generator(torch.rand(BATCH, 100)).detach()
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
        matched = self.body(self.generator(torch.rand(BATCH, 100))).mean(dim=0)
        loss = (self.body(other).mean(dim=0).detach() - matched).square().mean()
        self.g_optimizer.zero_grad()
        loss.backward()
        self.g_optimizer.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)

    images = [torch.rand(BATCH, 784) for _ in range(3)]
    labels = torch.arange(BATCH) % 10
    plain, ours = PlainGame(), Game(MNIST_SSL, 10)

    def our_step() -> None:
        ours.discriminator_step(images[0], labels, images[1])
        ours.generator_step(images[2])

    def plain_step() -> None:
        plain.step(images[0], labels, images[1], images[2])

    # CPU time leaves out what other processes take, but adds up threads.
    clock = time.process_time if arguments.threads == 1 else time.perf_counter
    contestants: dict[str, Callable[[], None]] = {"plain": plain_step, "igan-zoo": our_step}
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
    ratios = [a / b for a, b in zip(times["plain"], times["igan-zoo"], strict=True)]
    print(f"ratio     {statistics.median(ratios):.2f} (from {min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
