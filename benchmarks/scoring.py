"""What scoring costs beside the network alone: CPU time with decoding and sums over CPU time of the engine's answers.

Rounds alternate in one process; the images of the engine's side are decoded before.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

from igan_zoo.images.batches import ImageBatches
from igan_zoo.serving.model_source import open_images
from igan_zoo.serving.scoring.gathering import Manner, choose_images, gather_statistics
from igan_zoo.serving.scoring.network import open_network
from igan_zoo.serving.scoring.plan import Plan


def cpu_seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("scorer")
    parser.add_argument("--n", type=int, help="[default: all images]")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    network = open_network(options.scorer, threads=1)
    source = open_images(options.source, count=options.n)
    facts = Plan(("is",)).facts(source, network, options.n)
    chosen = choose_images(len(source), facts.images, facts.seed)
    batches = list(ImageBatches(source, chosen, network.batch_size, network.input))
    manner = Manner(threads=1)
    engine, whole = [], []
    for _ in range(options.rounds):
        engine.append(cpu_seconds(lambda: [network.answer(batch.images) for batch in batches]))
        whole.append(cpu_seconds(lambda: gather_statistics(source, network, facts, manner=manner)))
    print(f"{network.name}, {facts.images:,} images of {source.reference}, images per second of CPU time:")
    print(f"engine {facts.images / median(engine):,.1f}, score {facts.images / median(whole):,.1f}")
    print(f"score needs {median(whole) / median(engine):.3f} times the engine's time")


if __name__ == "__main__":
    main()
