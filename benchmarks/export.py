"""Exported generators for CPUs: the rewritten graph beside its peers, interleaved in one process.

Every network is untrained, initialised from data as before a training. The peers run the plain graph (onnxruntime,
OpenVINO) or the torch module of which it was exported (eager, compiled by inductor with its weights as constants).
"naive" is the plain graph with ``nn.Softplus`` as torch exports it, where the network has one. A peer that is not
installed is left out.

    python benchmarks/export.py [--recipes cifar10-ssl] [--batches 1 16] [--peers plain rewritten] [--rounds 5]
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from igan_zoo.export.freeze import ImageGenerator, StableSoftplus, frozen_generator, measure_population
from igan_zoo.export.graphs.building import to_onnx
from igan_zoo.export.graphs.rewriting import rewritten
from igan_zoo.latents import latents
from igan_zoo.training.networks.convolutional import convolutional_generator
from igan_zoo.training.networks.multi_scale import MultiScaleGenerator
from igan_zoo.training.networks.players import mnist_generator
from igan_zoo.training.recipes.catalogue import find_recipe
from igan_zoo.training.recipes.settings import Recipe

Run = Callable[[NDArray[np.float32]], object]

BATCHES = {"cifar10-ssl": [1, 16, 100], "imagenet128": [1, 16], "mnist-ssl": [1, 16, 100]}
# A measurement makes at least this many images, in as many calls as that takes.
IMAGES = 32


@dataclass
class Exported:
    """A generator as its peers need it."""

    module: ImageGenerator
    plain: bytes
    rewritten: bytes | None
    naive: bytes | None
    latents: NDArray[np.float32]


@torch.no_grad()
def untrained(recipe: Recipe) -> tuple[nn.Module, int]:
    """Returns the recipe's generator, data-dependently initialised, and the size of its latents."""
    torch.manual_seed(0)
    if recipe.network == "multi-scale":
        scales = MultiScaleGenerator(reference_seed=2**63, size=recipe.height, width=recipe.network_width)
        return scales, scales.latent_size
    size = recipe.latent_size
    if recipe.network == "mnist-dense":
        return mnist_generator(size, recipe.height * recipe.width, "sigmoid"), size
    filters = round(512 * recipe.network_width)
    generator = convolutional_generator(size=recipe.height, channels=recipe.channels, latent_size=size, filters=filters)
    x = torch.rand(100, size)
    for layer in generator:
        x = layer.initialize(x) if hasattr(layer, "initialize") else layer(x)  # type: ignore[operator]
    return generator, size


def export(name: str, count: int) -> Exported:
    recipe = find_recipe(name)
    network, size = untrained(recipe)
    measure_population(network, size, recipe.latent_distribution)
    z = latents(size, recipe.latent_distribution, seed=0, start=0, count=count)
    module = ImageGenerator(frozen_generator(network), recipe).eval()

    def graph(of: nn.Module) -> bytes:
        return to_onnx(of, torch.from_numpy(z[:2]), input_name="latent", outputs=["images"], metadata={})

    plain, naive = graph(module), None
    if isinstance(module.network, nn.Sequential) and any(isinstance(x, StableSoftplus) for x in module.network):
        layers = [nn.Softplus() if isinstance(x, StableSoftplus) else x for x in module.network]
        naive = graph(ImageGenerator(nn.Sequential(*layers), recipe))
    return Exported(module, plain, rewritten(plain), naive, z)


def with_onnxruntime(content: bytes) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda z: session.run(None, {"latent": z})


def with_openvino(content: bytes) -> Run:
    import openvino

    core = openvino.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }
    request = core.compile_model(core.read_model(content), "CPU", settings).create_infer_request()
    return lambda z: request.infer({"latent": z})


def with_torch(module: nn.Module) -> Run:
    def run(z: NDArray[np.float32]) -> object:
        with torch.inference_mode():
            return module(torch.from_numpy(z))

    return run


def compiled(module: nn.Module) -> Run:
    import torch._inductor.config as inductor

    inductor.freezing = True
    with torch.inference_mode():
        return with_torch(torch.compile(module, dynamic=False))  # type: ignore[arg-type]


PEERS: dict[str, Callable[[Exported], Run | None]] = {
    "plain": lambda model: with_onnxruntime(model.plain),
    "rewritten": lambda model: with_onnxruntime(model.rewritten) if model.rewritten else None,
    "naive": lambda model: with_onnxruntime(model.naive) if model.naive else None,
    "eager": lambda model: with_torch(model.module),
    "compiled": lambda model: compiled(model.module),
    "openvino": lambda model: with_openvino(model.plain) if importlib.util.find_spec("openvino") else None,
}


def times(runs: dict[str, Run], z: NDArray[np.float32], rounds: int) -> dict[str, float]:
    """Returns the median CPU milliseconds an image; all peers take turns in every round, the first only warms up."""
    calls = -(-IMAGES // len(z))
    measured: dict[str, list[float]] = {name: [] for name in runs}
    for round_number in range(rounds + 1):
        for name, run in runs.items():
            started = time.process_time()
            for _ in range(calls):
                run(z)
            if round_number > 0:
                measured[name].append((time.process_time() - started) / calls / len(z) * 1000)
    return {name: statistics.median(values) for name, values in measured.items()}


def load_seconds(content: bytes, rounds: int) -> float:
    """Returns the median CPU time until a session is ready."""
    measured = []
    for _ in range(rounds):
        started = time.process_time()
        with_onnxruntime(content)
        measured.append(time.process_time() - started)
    return statistics.median(measured)


def report(name: str, batches: list[int], peers: list[str], rounds: int) -> None:
    model = export(name, max(batches))
    print(f"{name}")
    for label, content in (("plain", model.plain), ("rewritten", model.rewritten)):
        if content is not None:
            print(f"  {label:10} {len(content) / 1e6:7.1f} MB, loaded in {load_seconds(content, rounds):.2f} s CPU")
    made: dict[str, Any] = {peer: PEERS[peer](model) for peer in peers}
    runs = {peer: run for peer, run in made.items() if run is not None}
    ours = "rewritten" if "rewritten" in runs else "plain"
    for batch in batches:
        measured = times(runs, model.latents[:batch], rounds)
        cells = ", ".join(f"{peer} {value:.3f} ms ({value / measured[ours]:.2f})" for peer, value in measured.items())
        print(f"  batch {batch:3}: {cells}", flush=True)
    print(f"  In brackets: its time over that of {ours}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", choices=BATCHES, default=list(BATCHES))
    parser.add_argument("--batches", nargs="+", type=int)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.recipes:
        report(name, arguments.batches or BATCHES[name], arguments.peers, arguments.rounds)


if __name__ == "__main__":
    main()
