"""The same small work undivided and in shards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from igan_zoo.models import store
from igan_zoo.serving.model import load_model
from igan_zoo.serving.sample_writers import write_samples
from igan_zoo.serving.shards.sampling import sample_in_shards
from igan_zoo.serving.shards.task import Executor

MODEL = store.bundled_store().root / "mnist-ssl"
# 9 shards of two batches each, but for the last one, of which the second batch is smaller.
WHICH: dict[str, Any] = {"seed": 3, "start": 20, "count": 175}
HOW: dict[str, Any] = {"batch_size": 10, "shard_size": 20}


def undivided(out: Path, **changed: Any) -> bytes:
    """Returns the bytes that one process writes."""
    how = WHICH | HOW | changed
    which = {name: how[name] for name in WHICH}
    batches = load_model(store.resolve(str(MODEL)), ["generator"]).sample_batches(**which, batch_size=how["batch_size"])
    write_samples(out, batches, image_shape=(28, 28, 1), **which, replace=True)
    return content(out)


def in_shards(executor: Executor, out: Path, **changed: Any) -> NDArray[np.uint8] | None:
    loaded = load_model(store.resolve(str(MODEL)), ["generator"], threads=1)
    return sample_in_shards(executor, loaded, out, **(WHICH | HOW | changed))


def content(out: Path) -> bytes:
    """Returns the bytes of a file, or the names and bytes of a folder's files."""
    if out.is_dir():
        return b"".join(path.name.encode() + path.read_bytes() for path in sorted(out.iterdir()))
    return out.read_bytes()
