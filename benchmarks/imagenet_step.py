"""Time and memory of one step of imagenet128, both players, forward and backward and optimizers.

Each batch size runs in a process of its own, whose highest resident memory is printed.

    python benchmarks/imagenet_step.py [--batch-sizes 16 64] [--recipe imagenet128] [--threads 1]
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time


def measure(recipe_name: str, size: int, threads: int) -> None:
    import torch

    from igan_zoo.training.games.choice import new_game
    from igan_zoo.training.games.game import Batches
    from igan_zoo.training.recipes.catalogue import find_recipe
    from igan_zoo.training.recipes.settings import customize

    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    recipe = customize(find_recipe(recipe_name), [f"batch_size={size}"])
    game = new_game(recipe, 1000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    images = torch.rand(size, 3, 128, 128).contiguous(memory_format=torch.channels_last) * 2 - 1
    started = time.process_time()
    game.step(Batches((images, torch.arange(size) % 1000), None))
    seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{recipe_name} batch {size:3}: highest {peak:.2f} GiB ({before:.2f} before the first step: networks, "
        f"optimizers and PyTorch), first step {seconds:.1f} s of CPU",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=["imagenet128", "imagenet128-half-width"], default="imagenet128")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    for size in arguments.batch_sizes:
        process = context.Process(target=measure, args=(arguments.recipe, size, arguments.threads))
        process.start()
        process.join()


if __name__ == "__main__":
    main()
