"""The routes for people give what the commands give, and refuse the rest in one sentence."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import shutil
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient
from starlette.types import Message

from igan_zoo.images.pixels import encode_png
from igan_zoo.latents import latents
from igan_zoo.models.store import resolve
from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.settings import ServerSettings
from tests.conftest import REPOSITORY, synthetic_digits
from tests.serving.server.conftest import CLASSIFIER, GENERATOR, MODEL
from tests.serving.server.people.test_uploads import form, tar, zipped
from tests.serving.tiny_scorer import tiny_scorer

FORM = {"Content-Type": "multipart/form-data; boundary=seam"}
Command = Callable[..., tuple[int, str, str]]


def encoded(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    encode_png(file, image)
    return file.getvalue()


def digits(count: int, seed: int = 5) -> list[tuple[str, bytes]]:
    images, _ = synthetic_digits(count, seed)
    return [(f"{index:03d}.png", encoded(image[..., None])) for index, image in enumerate(images)]


def opened(reference: str | Path) -> Repository:
    return Repository.open([reference], ServerSettings(threads=1))


def error(answer: Any) -> str:
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    (sentence,) = answer.json().values()
    assert "\n" not in sentence
    assert sentence.endswith((".", "?"))
    return str(sentence)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("digits")
    for name, content in digits(12):
        (path / name).write_bytes(content)
    return path


# Probabilities of other batches differ by rounding.
def assert_same_answers(answers: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert [Path(one["file"]).name for one in expected] == [one["file"] for one in answers]
    for one, other in zip(answers, expected, strict=True):
        assert [shown["name"] for shown in one["classes"]] == [name for name, _ in other["classes"]]
        shares = [shown["probability"] for shown in one["classes"]]
        assert shares == pytest.approx([share for _, share in other["classes"]], abs=1e-5)
        assert one["realness"] == pytest.approx(other["realness"], abs=1e-5)


def test_one_image_is_classified_bit_for_bit_as_by_the_command(
    client: TestClient, folder: Path, igan_zoo: Command
) -> None:
    file = folder / "003.png"
    answer = client.post("/classify", params={"model": MODEL, "top": 3}, content=file.read_bytes())
    assert answer.status_code == 200
    assert answer.headers["x-igan-zoo-model"] == MODEL
    (expected,) = json.loads(igan_zoo("classify", MODEL, file, "--top", 3, "--json")[1])
    classes = [{"name": name, "probability": share} for name, share in expected["classes"]]
    told = {"realness": expected["realness"], "note": expected["note"]}
    assert answer.json() == [{"file": "The image", "classes": classes, **told}]


def test_files_of_forms_and_archives_are_classified_as_by_the_command(
    client: TestClient, folder: Path, igan_zoo: Command
) -> None:
    expected = json.loads(igan_zoo("classify", MODEL, folder, "--json")[1])
    for content, headers in ((form(digits(12)), FORM), (tar(digits(12)), {}), (zipped(digits(12)), {})):
        answer = client.post("/classify", content=content, headers=headers)
        assert answer.status_code == 200
        assert_same_answers(answer.json(), expected)


def test_a_note_says_where_an_image_is_of_another_kind(client: TestClient) -> None:
    with Image.open(REPOSITORY / "docs" / "digits" / "7.png") as file:
        digit = np.asarray(file.convert("L"))[..., None]
    # Gray without any stroke is no digit, and not light at its edge.
    expected = [
        (digit, None),
        (255 - digit, "dark on light; the model expects light on dark"),
        (np.full_like(digit, 60), "unlike the training images"),
    ]
    for pixels, note in expected:
        (answer,) = client.post("/classify", content=encoded(pixels)).json()
        assert answer.get("note") == note


def test_a_bad_image_among_several_has_an_error_in_its_place(client: TestClient) -> None:
    good = digits(2)
    files = [good[0], ("bad.png", b"no image"), ("cut.png", good[1][1][:60]), good[1]]
    answers = client.post("/classify", content=form(files), headers=FORM).json()
    assert [sorted(one) for one in answers] == [
        ["classes", "file", "note", "realness"],
        *[["error", "file"]] * 2,
        sorted(answers[0]),
    ]
    assert answers[1] == {"file": "bad.png", "error": "bad.png is not a PNG, JPEG, WebP, TIFF, BMP, GIF or AVIF image."}
    assert answers[2]["error"].startswith("cut.png cannot be decoded")


def png_of(width: int, height: int) -> bytes:
    """A PNG whose header promises any size, with nothing of it behind."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(100)))]
    framed = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


@pytest.mark.parametrize(
    ("content", "headers", "status", "sentence"),
    [
        (png_of(100_000, 100_000), {}, 400, "The image has 100000x100000 pixels"),
        (png_of(10_000, 6_000), {}, 400, "at most 50,000,000 are decoded"),
        (digits(1)[0][1][:50], {}, 400, "The image cannot be decoded"),
        (form([("only.png", b"no image")]), FORM, 400, "only.png is not a PNG, JPEG"),
        (b"%!PS-Adobe", {}, 400, "not a PNG, JPEG, WebP, TIFF, BMP, GIF or AVIF image, a multipart form"),
        (b"", {}, 400, "The body is empty"),
        (form([]), FORM, 400, "no image"),
        (tar([("notes.txt", b"x")]), {}, 400, "no image"),
        (form([(f"{index}.png", b"x") for index in range(6)]), FORM, 413, "more than 5 files"),
        (bytes(40_000), {}, 413, "may have 30000 bytes"),
    ],
)
def test_hostile_images_are_refused_before_they_are_decoded(
    client_of: Callable[..., TestClient],
    content: bytes,
    headers: dict[str, str],
    status: int,
    sentence: str,
) -> None:
    client = client_of(opened(MODEL), max_images=5, max_body=30_000)
    answer = client.post("/classify", content=content, headers=headers)
    assert answer.status_code == status
    assert sentence in error(answer)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/classify?top=0", "top is '0'; it must be a whole number in 1..10000."),
        ("/classify?model=mnist-ssl-worm", "mnist-ssl"),
        ("/sample?n=0", "n is '0'; it must be a whole number in 1..4096."),
        ("/sample?n=+5", "whole number"),
        ("/sample?n=５", "whole number"),
        ("/sample?seed=18446744073709551616", "in 0..18446744073709551615"),
        ("/sample?start=-1", "start is '-1'"),
        ("/sample?format=gif", "format is 'gif'; it must be png or npz."),
        ("/sample?sed=7", "There is no parameter 'sed'"),
        ("/sample?seed=7&seed=8", "seed was given twice"),
        ("/score?metric=fid", "metric is 'fid'; it must be is."),
        ("/models?x=1", "There is no parameter 'x'; this route takes none."),
    ],
)
def test_parameters_are_read_strictly(client: TestClient, path: str, sentence: str) -> None:
    method = "POST" if path.startswith(("/classify", "/score")) else "GET"
    answer = client.request(method, path, content=digits(1)[0][1] if method == "POST" else None)
    assert answer.status_code == (404 if "model=" in path else 400)
    assert sentence in error(answer)


@pytest.mark.parametrize(("n", "seed", "start"), [(1, 0, 0), (16, 7, 0), (70, 2**64 - 1, 123_456_789)])
def test_samples_are_the_bytes_that_the_command_writes(
    client: TestClient, tmp_path: Path, igan_zoo: Command, n: int, seed: int, start: int
) -> None:
    igan_zoo("sample", MODEL, "--n", n, "--seed", seed, "--start", start, "--out", tmp_path / "x.npz")
    wanted = {"model": MODEL, "n": n, "seed": seed, "start": start}
    answer = client.get("/sample", params={**wanted, "format": "npz"})
    assert answer.headers["content-type"] == "application/zip"
    assert answer.content == (tmp_path / "x.npz").read_bytes()
    picture = client.get("/sample", params=wanted)
    assert picture.headers["content-type"] == "image/png"
    assert picture.content == (tmp_path / "x-grid.png").read_bytes()


def test_images_of_given_latents_are_those_of_their_seed(client: TestClient) -> None:
    rows = latents(100, "uniform", seed=7, start=3, count=5).tolist()
    expected = client.get("/sample?seed=7&start=3&n=5")
    assert client.post("/sample", json={"latents": rows}).content == expected.content
    archive = client.post("/sample", json={"model": MODEL, "latents": rows, "format": "npz"})
    expected = client.get("/sample?seed=7&start=3&n=5&format=npz")
    with np.load(io.BytesIO(archive.content)) as one, np.load(io.BytesIO(expected.content)) as other:
        assert one.files == ["images"]
        np.testing.assert_array_equal(one["images"], other["images"])


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"{", "The body is not the JSON of latents"),
        (b'{"latents": []}', "not the JSON of latents"),
        (b'{"latents": [[0.5]]}', "has 100 numbers, not 1"),
        (json.dumps({"latents": [[0.5] * 100, [0.5] * 99]}).encode(), "has 100 numbers, not 99"),
        (json.dumps({"latents": [[1e300] * 100]}).encode(), "too large for float32"),
        (json.dumps({"latents": [[0.5] * 100], "format": "gif"}).encode(), "png or npz"),
        (json.dumps({"latents": [[0.5] * 100], "seed": 1}).encode(), "seed"),
        (json.dumps({"latents": [[0.0] * 100] * 4097}).encode(), "may have 4096 latents, not 4097"),
        (b"[" * 100_000, "not the JSON of latents"),
    ],
)
def test_latents_that_are_none_are_refused(client: TestClient, body: bytes, sentence: str) -> None:
    answer = client.post("/sample", content=body)
    assert answer.status_code == 400
    assert sentence in error(answer)


def lines(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


def scored_by_command(igan_zoo: Command, source: Path, *options: object) -> list[dict[str, Any]]:
    code, out, err = igan_zoo("score", source, "--scorer", *options, "--format", "json", "--no-cache")
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


def same(records: list[dict[str, Any]], expected: list[dict[str, Any]], source: str) -> None:
    assert [record.pop("source") for record in records] == [source] * len(records)
    for record in (*records, *expected):
        record.pop("time")
        record.pop("source", None)
    assert records == expected


def test_a_scored_archive_ends_in_the_record_of_the_command(
    client: TestClient, tmp_path: Path, igan_zoo: Command
) -> None:
    good = digits(250)
    files = [*good[:40], ("bad.png", b"no image"), *good[40:]]
    (tmp_path / "x.tar").write_bytes(tar(files))
    expected = scored_by_command(igan_zoo, tmp_path / "x.tar", MODEL)
    answer = client.post("/score", params={"model": MODEL, "every": 100}, content=tar(files))
    *running, last = lines(answer)
    assert [line["images"] for line in running] == [100, 200, 250]
    assert running[-1]["score"] == pytest.approx(expected[1]["value"])
    assert last["left_out"] == ["bad.png is not a PNG, JPEG, WebP, TIFF, BMP, GIF or AVIF image."]
    same(last["records"], expected, "upload (tar)")


def test_a_scored_form_or_zip_has_the_numbers_of_the_folder(
    client: TestClient, tmp_path: Path, igan_zoo: Command
) -> None:
    files = digits(30)
    for name, content in files:
        (tmp_path / name).write_bytes(content)
    expected = scored_by_command(igan_zoo, tmp_path, MODEL, "--splits", 3, "--seed", 7)
    parameters = {"splits": 3, "seed": 7}
    last = lines(client.post("/score", params=parameters, content=form(files), headers=FORM))[-1]
    same(last["records"], [dict(record) for record in expected], "upload (form)")
    archive = zipped(files)
    last = lines(client.post("/score", params=parameters, content=archive))[-1]
    assert [record["value"] for record in last["records"]] == [record["value"] for record in expected]
    assert last["records"][0]["fingerprint"] == hashlib.sha256(archive).hexdigest()


@pytest.fixture(scope="module")
def scorer_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scorer") / "tiny.onnx"
    path.write_bytes(tiny_scorer({}))
    return path


def test_a_scorer_takes_images_of_any_size(
    scorer_file: Path, tmp_path: Path, igan_zoo: Command, client_of: Callable[..., TestClient]
) -> None:
    generator = np.random.default_rng(3)
    files = [
        (f"{index}.png", encoded(generator.integers(0, 256, (8 + index % 3, 9, 3), np.uint8))) for index in range(45)
    ]
    (tmp_path / "x.tar").write_bytes(tar(files))
    expected = scored_by_command(igan_zoo, tmp_path / "x.tar", scorer_file)
    client = client_of(opened(scorer_file))
    *running, last = lines(client.post("/score?every=10", content=tar(files)))
    assert running[-1]["images"] == 45
    same(last["records"], expected, "upload (tar)")
    assert client.post("/classify", content=files[0][1]).status_code == 404


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (digits(1), "A score needs 2 to"),
        (digits(5), "5 images cannot be divided into 10 splits"),
        ([("a.png", b"x"), ("b.png", b"y")], "None of the 2 images of upload (tar) can be used: a.png is not"),
        ([], "None of the 0 images"),
    ],
)
def test_what_cannot_be_scored_has_a_status(client: TestClient, files: list[tuple[str, bytes]], sentence: str) -> None:
    answer = client.post("/score", content=tar(files))
    assert answer.status_code == 400
    assert sentence in error(answer)


def test_an_error_behind_the_first_line_is_a_line(client: TestClient) -> None:
    content = tar(digits(150))
    *running, last = lines(client.post("/score?every=10", content=content[:-20_000]))
    assert running[0]["images"] == 10
    assert last == {"error": "The tar archive is truncated: it has no end mark."} or "truncated inside" in last["error"]


def test_lines_come_while_images_still_arrive(client: TestClient) -> None:
    """The body waits at its half until the first line has been seen: one that answers at the end would never."""
    content = tar(digits(220))
    halves = [content[: len(content) * 3 // 4], content[len(content) * 3 // 4 :]]
    sent: list[dict[str, Any]] = []

    async def exchange() -> None:
        seen = asyncio.Event()
        messages = iter(halves)

        async def receive() -> Message:
            half = next(messages, None)
            if half is halves[1]:
                await asyncio.wait_for(seen.wait(), 60)
            return {"type": "http.request", "body": half or b"", "more_body": half is halves[0]}

        async def send(message: Message) -> None:
            sent.extend(json.loads(line) for line in message.get("body", b"").splitlines())
            if sent:
                seen.set()

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/score",
            "raw_path": b"/score",
            "query_string": b"every=50",
            "headers": [],
        }
        await client.app(scope, receive, send)

    client.portal.call(exchange)  # type: ignore[union-attr]
    assert sent[0]["images"] == 50
    assert sent[-1]["records"][0]["images"] == 220


def test_the_models_are_described(client: TestClient) -> None:
    (model,) = client.get("/models").json()
    assert client.get(f"/models/{MODEL}").json() == model
    spec = resolve(MODEL).directory.spec  # type: ignore[union-attr]
    assert (model["name"], model["summary"]) == (MODEL, spec.summary)
    assert model["roles"] == ["generator", "classifier"]
    assert model["protocol_models"] == [GENERATOR, CLASSIFIER]
    assert model["image"] == {"height": 28, "width": 28, "channels": 1, "crop": False}
    assert model["latent"] == {"size": 100, "distribution": "uniform"}
    assert model["classes"] == [str(digit) for digit in range(10)]
    assert model["results"][0]["wrong"] == 96
    assert model["provider"] == "CPUExecutionProvider"
    assert 0 < model["parity"]["onnx/classifier.onnx"]["logits"] < 1e-4
    assert {file["path"]: file["sha256"] for file in model["files"]}["samples.png"] == spec.files["samples.png"].sha256


def test_a_single_file_is_described_by_what_it_says(scorer_file: Path, client_of: Callable[..., TestClient]) -> None:
    client = client_of(opened(scorer_file))
    (model,) = client.get("/models").json()
    assert (model["name"], model["roles"], model["image"], model["files"]) == ("tiny", ["scorer"], None, [])
    answer = client.get("/models/tiny/card")
    assert answer.status_code == 404
    assert "single ONNX file" in error(answer)


def test_files_of_a_model_are_given_with_their_sums(client: TestClient) -> None:
    directory = resolve(MODEL).directory
    assert directory is not None
    for name in ("samples.png", "onnx/generator.onnx", "config.json", "README.md"):
        content = (directory.path / name).read_bytes()
        answer = client.get(f"/models/{MODEL}/files/{name}")
        assert answer.content == content
        tag = f'"{hashlib.sha256(content).hexdigest()}"'
        assert answer.headers["etag"] == tag
        again = client.get(f"/models/{MODEL}/files/{name}", headers={"If-None-Match": f'W/"x", {tag}'})
        assert (again.status_code, again.content) == (304, b"")
    assert client.get(f"/models/{MODEL}/card").text == (directory.path / "README.md").read_text()
    part = client.get(f"/models/{MODEL}/files/samples.png", headers={"Range": "bytes=0-7"})
    assert (part.status_code, part.content) == (206, b"\x89PNG\r\n\x1a\n")


@pytest.mark.parametrize(
    ("wanted", "status", "part"),
    [
        ("bytes=0-", 206, slice(None)),
        ("bytes=-10", 206, slice(-10, None)),
        ("bytes={last}-99999", 206, slice(-1, None)),
        ("bytes={size}-", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=5-4", 200, slice(None)),
        ("bytes=0-1,3-4", 200, slice(None)),
        ("bytes=x", 200, slice(None)),
        ("lines=1-2", 200, slice(None)),
    ],
)
def test_one_part_of_a_file_may_be_asked_for(client: TestClient, wanted: str, status: int, part: Any) -> None:
    whole = (resolve(MODEL).path / "samples.png").read_bytes()
    size = len(whole)
    answer = client.get(
        f"/models/{MODEL}/files/samples.png", headers={"Range": wanted.format(size=size, last=size - 1)}
    )
    assert answer.status_code == status
    if part is None:
        assert error(answer)
        assert answer.headers["content-range"] == f"bytes */{size}"
    else:
        assert answer.content == whole[part]


@pytest.mark.parametrize("name", ["nothing.png", "../../pyproject.toml", "%2e%2e/%2e%2e/errors.py", "/etc/passwd", ""])
def test_no_other_file_is_given(client: TestClient, name: str) -> None:
    answer = client.get(f"/models/{MODEL}/files/{name}")
    assert answer.status_code == 404
    error(answer)


def test_a_directory_that_vanished_breaks_the_list_of_no_model(
    tmp_path: Path, client_of: Callable[..., TestClient]
) -> None:
    copy = shutil.copytree(resolve(MODEL).path, tmp_path / "copy")
    client = client_of(opened(copy))
    before = client.get(f"/models/{MODEL}").json()
    shutil.rmtree(copy)
    (listed,) = client.get("/models").json()
    assert listed == client.get(f"/models/{MODEL}").json()
    assert (listed["results"], listed["files"], listed["parity"]) == (before["results"], [], None)
    for path in ("card", "files/config.json", "files/samples.png"):
        answer = client.get(f"/models/{MODEL}/{path}")
        assert answer.status_code == 503, path
        assert str(tmp_path) not in error(answer)


def test_a_file_that_was_changed_is_not_given(tmp_path: Path, client_of: Callable[..., TestClient]) -> None:
    copy = shutil.copytree(resolve(MODEL).path, tmp_path / "copy")
    client = client_of(opened(copy))
    assert client.get(f"/models/{MODEL}/files/samples.png").status_code == 200
    (copy / "samples.png").write_bytes(b"changed")
    answer = client.get(f"/models/{MODEL}/files/samples.png")
    assert answer.status_code == 503
    assert f"samples.png of {MODEL} cannot be sent" in error(answer)


def test_the_log_and_the_metrics_name_the_model(client: TestClient, log: io.StringIO) -> None:
    client.get("/sample?n=1")
    client.post("/classify", content=digits(1)[0][1])
    # Lines of requests are gathered and written a moment later.
    deadline = time.monotonic() + 10
    while "/classify" not in log.getvalue() and time.monotonic() < deadline:
        time.sleep(0.01)
    models = {line["path"]: line["model"] for line in map(json.loads, log.getvalue().splitlines()) if "path" in line}
    assert models == {"/sample": GENERATOR, "/classify": CLASSIFIER}
    assert 'igan_zoo_requests_total{model="mnist-ssl-classifier",route="/classify",status="200"} 1.0' in (
        client.get("/metrics").text
    )
