"""Animations from one generated image to another."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageSequence
from starlette.testclient import TestClient

from igan_zoo.serving.server.people.morph import animation, way
from tests.serving.server.conftest import MODEL


def frames(content: bytes) -> list[Image.Image]:
    with Image.open(io.BytesIO(content)) as picture:
        return [frame.convert("RGB") for frame in ImageSequence.Iterator(picture)]


@pytest.mark.parametrize("form", ["webp", "gif"])
def test_a_morph_goes_from_one_image_to_the_other_and_back(client: TestClient, form: str) -> None:
    answer = client.get(f"/morph?model={MODEL}&from=7&to=8&frames=5&format={form}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == f"image/{form}"
    assert f'filename="{MODEL}-7-to-8.{form}"' in answer.headers["content-disposition"]
    shown = frames(answer.content)
    assert [frame.size for frame in shown] == [(252, 252)] * 8
    for frame, seed in ((shown[0], 7), (shown[4], 8)):
        with np.load(io.BytesIO(client.get(f"/sample?model={MODEL}&seed={seed}&n=1&format=npz").content)) as archive:
            expected = archive["images"][0, :, :, 0]
        # A GIF has 256 colors; another batch may tip a value between two gray levels.
        assert np.abs(np.asarray(frame)[::9, ::9, 0] - expected.astype(int)).max() <= 1
    for there, back in ((1, 7), (2, 6), (3, 5)):
        assert (np.asarray(shown[there]) == np.asarray(shown[back])).all()


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("model=no-such", 404),
        (f"model={MODEL}&frames=1", 400),
        (f"model={MODEL}&frames=61", 400),
        (f"model={MODEL}&from=-1", 400),
        (f"model={MODEL}&to=18446744073709551616", 400),
        (f"model={MODEL}&format=mp4", 400),
        (f"model={MODEL}&seed=7", 400),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(client: TestClient, query: str, status: int) -> None:
    answer = client.get(f"/morph?{query}")
    assert (answer.status_code, list(answer.json())) == (status, ["error"])


def test_normal_latents_keep_their_length_on_the_way_and_uniform_ones_their_range() -> None:
    first, last = np.random.default_rng(0).standard_normal((2, 200)).astype(np.float32)
    last *= np.linalg.norm(first) / np.linalg.norm(last)
    arc = way(first, last, 9, "normal")
    assert np.linalg.norm(arc, axis=1) == pytest.approx(np.linalg.norm(first), rel=1e-5)
    line = way(first, last, 3, "uniform")
    assert np.allclose(line, [first, (first + last) / 2, last])
    # There is no arc between a latent and itself.
    assert np.allclose(way(first, first, 4, "normal"), first)


def test_images_of_one_level_still_make_an_animation() -> None:
    assert frames(animation(np.zeros((3, 300, 200, 3), np.uint8), "webp"))[0].size == (200, 300)
