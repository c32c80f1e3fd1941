"""Parquet files of images, as the Hub stores them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from PIL import Image

ROW = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])


def encoded(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, format="PNG")
    return content.getvalue()


def write_images(
    path: Path,
    images: Iterable[Image.Image | dict[str, Any] | None],
    column: str = "image",
    names: Sequence[str] | None = None,
    **columns: Sequence[Any],
) -> None:
    """Writes rows of images; with ``names`` the column ``label`` is of the Hub's type ClassLabel."""
    rows = [{"bytes": encoded(image), "path": None} if isinstance(image, Image.Image) else image for image in images]
    table = pyarrow.table({column: pyarrow.array(rows, ROW), **columns})
    features: dict[str, Any] = {column: {"_type": "Image"}}
    if names is not None:
        features["label"] = {"_type": "ClassLabel", "names": list(names)}
    described = json.dumps({"info": {"features": features}})
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(table.replace_schema_metadata({"huggingface": described}), path)
