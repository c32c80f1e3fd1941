"""What TensorBoard reads back from the event files."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from igan_zoo.errors import OutputError, pip_install

pytest.importorskip("tensorboard", reason="needs the tensorboard extra")

from igan_zoo.training.runs.tensorboard import TensorBoardLog


def read(path: Path) -> Any:
    """All events of a folder, as TensorBoard sees them."""
    from tensorboard.backend.event_processing.event_accumulator import IMAGES, SCALARS, EventAccumulator

    return EventAccumulator(str(path), {SCALARS: 0, IMAGES: 0}).Reload()


def scalars(events: Any, name: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events.Scalars(name)]


def test_scalars_are_read_back_by_name_and_step(tmp_path: Path) -> None:
    log = TensorBoardLog(tmp_path / "tensorboard")
    log.scalars(1, {"generator_loss": 2.5, "validation_error": 0.5})
    log.scalars(2, {"generator_loss": 1.25})
    log.close()
    events = read(tmp_path / "tensorboard")
    assert scalars(events, "generator_loss") == [(1, 2.5), (2, 1.25)]
    assert scalars(events, "validation_error") == [(1, 0.5)]


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_read_back_bit_for_bit(tmp_path: Path, channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 6, channels), np.uint8)
    log = TensorBoardLog(tmp_path)
    log.image(7, "samples", image)
    log.close()
    (event,) = read(tmp_path).Images("samples")
    assert (event.step, event.height, event.width) == (7, 8, 6)
    with Image.open(io.BytesIO(event.encoded_image_string)) as picture:
        np.testing.assert_array_equal(np.asarray(picture), np.broadcast_to(image, (8, 6, 3)))


def test_a_resumed_run_replaces_the_steps_after_its_checkpoint(tmp_path: Path) -> None:
    """The first run was killed after step 5, the second one goes on with step 4."""
    first = TensorBoardLog(tmp_path)
    for step in range(1, 6):
        first.scalars(step, {"a_loss": step, "b_loss": step})
        first.image(step, "samples", np.full((2, 2, 1), step, np.uint8))
    first.close()
    resumed = TensorBoardLog(tmp_path)
    resumed.scalars(4, {"a_loss": 40})
    resumed.image(4, "samples", np.full((2, 2, 1), 40, np.uint8))
    resumed.close()
    events = read(tmp_path)
    assert scalars(events, "a_loss") == [(1, 1), (2, 2), (3, 3), (4, 40)]
    assert scalars(events, "b_loss") == [(1, 1), (2, 2), (3, 3)]
    assert [event.step for event in events.Images("samples")] == [1, 2, 3, 4]


def test_a_log_that_nothing_was_written_to_leaves_no_folder(tmp_path: Path) -> None:
    TensorBoardLog(tmp_path / "tensorboard").close()
    assert not (tmp_path / "tensorboard").exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("keep")
    with pytest.raises(OutputError, match=r"Cannot write .*file"):
        TensorBoardLog(tmp_path / "file").scalars(1, {"a_loss": 1.0})


def test_without_tensorboard_it_says_what_to_install(tmp_path: Path) -> None:
    """In a process where it cannot be imported; the module itself needs nothing."""
    code = (
        "import sys; sys.modules['tensorboard'] = None\n"
        "from pathlib import Path\n"
        "from igan_zoo.errors import MissingExtraError\n"
        "from igan_zoo.training.runs.tensorboard import TensorBoardLog\n"
        "try: TensorBoardLog(Path('x'))\n"
        "except MissingExtraError as error: print(error)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout == ("This needs tensorboard, of the tensorboard extra: " + pip_install("tensorboard") + ".\n")
    assert not list(tmp_path.iterdir())
