"""Every parser of foreign bytes of ours, with whole and hostile inputs to begin from, for ``test_fuzzing.py``.

Guided by coverage and for as long as you like, which needs ``pip install atheris``::

    python -m tests.fuzzing upload.form --seconds 600
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import io
import json
import logging
import struct
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from igan_zoo.errors import IganZooError
from tests.conftest import REPOSITORY

HOSTILE = REPOSITORY / "tests" / "hostile"
BUNDLED = REPOSITORY / "zoo" / "bundled" / "mnist-ssl"
LABELS = [b'file,label\na.png,cat\nb.png,"dog"\n', b"\xef\xbb\xbfpath;class\nA;x\nphotos\\\\b.png;NaN\n"]
FORM = "multipart/form-data; boundary=seam"


@dataclass(frozen=True)
class Target:
    """What reads a file of some name, which may raise errors of ours and nothing else; and what to begin from."""

    file: str
    read: Callable[[Path], object]
    seeds: Callable[[], list[bytes]]

    def __call__(self, content: bytes, folder: Path) -> None:
        path = folder / self.file
        path.write_bytes(content)
        with contextlib.suppress(IganZooError):
            self.read(path)


def source(path: Path) -> None:
    from igan_zoo.images.sources import open_source
    from igan_zoo.images.stored import read

    images = open_source(str(path))
    read(images, range(min(3, len(images))))
    images.fingerprint()


def gaussian(path: Path) -> None:
    from igan_zoo.serving.scoring.statistics_file import holds_gaussian, load_gaussian

    holds_gaussian(path)
    load_gaussian(path)


def statistics(path: Path) -> None:
    from igan_zoo.serving.scoring.statistics_file import load_statistics

    load_statistics(path)


def config(path: Path) -> None:
    from igan_zoo.models.spec import read_spec

    read_spec(path)


def labels(path: Path) -> None:
    from igan_zoo.images.labels import read_labels

    read_labels(path, {"a.png", "b.png"}, "here")


def graph(path: Path) -> None:
    from igan_zoo.serving.onnx_file import check_onnx_file

    check_onnx_file(path.read_bytes(), "classifier")


def state_dict(path: Path) -> None:
    from igan_zoo.serving.scorers.state_dict import NotAStateDictError, NotTensorsError, read_state_dict

    content = path.read_bytes()
    with contextlib.suppress(NotAStateDictError, NotTensorsError):
        read = read_state_dict(content)
        # A tensor is no larger than its numbers in the file, bfloat16 twice.
        assert all(array.nbytes <= 2 * len(content) for array in read.values())


def encoder(path: Path) -> None:
    """The first line is the settings; the rest is the graph."""
    from igan_zoo.serving.scorers.encoders import encoder_as_scorer, settings_file

    described, _, content = path.read_bytes().partition(b"\n")
    path.write_bytes(content)
    settings_file(path).write_bytes(described)
    encoder_as_scorer(path, path.parent).unlink()


def matlab(path: Path) -> None:
    from igan_zoo.images.formats.svhn import open_svhn

    open_svhn(path.parent, "test")


def parquet_pages(path: Path) -> None:
    from types import SimpleNamespace

    from igan_zoo.images.formats.parquet_pages import check_pages

    size = path.stat().st_size
    chunk = {"data_page_offset": 0, "dictionary_page_offset": None, "total_compressed_size": size, "num_values": 100}
    with contextlib.suppress(ValueError):
        check_pages(path, SimpleNamespace(**chunk))


def run_facts(path: Path) -> None:
    from igan_zoo.training.runs.directory import Run

    path.replace(path.parent / "recipe.json")
    Run(path.parent).facts().command()


def run_log(path: Path) -> None:
    from igan_zoo.training.runs.directory import Run

    Run(path.parent).log()


def tensors(path: Path) -> None:
    """The first line is the length of the JSON, which comes in a header of the request."""
    from igan_zoo.serving.server.protocol.tensors import decode_request, encode_response

    length, _, body = path.read_bytes().partition(b"\n")
    request = decode_request(body, length.decode("latin-1") or None)
    answer, head = encode_response("model", "1", request, request.inputs)
    json.loads(answer[:head])


def grpc_tensors(path: Path) -> None:
    from google.protobuf.message import DecodeError

    from igan_zoo.serving.server.protocol.grpc_messages import message
    from igan_zoo.serving.server.protocol.grpc_tensors import read_inputs, timeout_of, write_response

    with contextlib.suppress(DecodeError):
        request = message("inference.ModelInferRequest").FromString(path.read_bytes())
        timeout_of(request)
        write_response("model", "1", request, read_inputs(request)).SerializeToString()


def latents(path: Path) -> None:
    from igan_zoo.serving.server.middleware.query import read_json
    from igan_zoo.serving.server.people import routes

    content = path.read_bytes()
    wanted = read_json(content, routes._Latents, "latents")
    routes._rows(bytes(wanted.latents), 100)


def picture(path: Path) -> None:
    from igan_zoo.images.stored import StoredImage
    from igan_zoo.serving.server.models.decoding import is_large

    image = StoredImage("it", path.read_bytes())
    is_large(image)
    image.decode()


def plain(path: Path) -> None:
    """What a compressed body unpacks to does not depend on the pieces in which it comes."""
    from igan_zoo.serving.server.middleware.compression import decompressed

    content = path.read_bytes()

    async def unpacked(pieces: list[bytes]) -> bytes:
        left = iter(pieces)

        async def receive() -> dict[str, Any]:
            piece = next(left)
            return {"type": "http.request", "body": piece, "more_body": piece is not pieces[-1]}

        plain, found, more = decompressed(receive, b"gzip", 10_000), b"", True
        while more:
            answer = await plain()
            found, more = found + answer["body"], answer["more_body"]
        return found

    same(lambda pieces: LOOP.run_until_complete(unpacked(pieces)), content)


def upload(path: Path) -> None:
    """The images of a body do not depend on the pieces in which it comes."""
    same(lambda pieces: LOOP.run_until_complete(received(pieces, path.suffix == ".form")), path.read_bytes())


LOOP = asyncio.new_event_loop()


async def received(pieces: list[bytes], form: bool) -> list[tuple[str, bytes | str]]:
    from igan_zoo.serving.server.middleware.shares import Room
    from igan_zoo.serving.server.people.uploads.body import Body
    from igan_zoo.serving.server.people.uploads.receiving import UploadLimits, receive

    async def arriving() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    limits = UploadLimits(files=10, file_bytes=1000, room=Room(2**20))
    brought = await receive(Body(arriving()), FORM if form else "application/octet-stream", limits)
    found = []
    async for image in brought.images:
        content = image.content
        found.append((image.name, content if isinstance(content, bytes) else str(content)))
    brought.fingerprint()
    return found


def same(read: Callable[[list[bytes]], object], content: bytes) -> None:
    """Checks that content in one piece is read, or refused, as in many; the sentence may be another."""
    small = [content[at : at + 7] for at in range(0, len(content), 7)] or [b""]
    outcomes = []
    for pieces in ([content], small):
        try:
            outcomes.append(read(pieces))
        except IganZooError as error:
            outcomes.append(type(error))
    assert outcomes[0] == outcomes[1], outcomes


def made(write: Callable[[io.BytesIO], object]) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


IMAGES = np.zeros((4, 5, 6, 3), np.uint8)


def png() -> bytes:
    from igan_zoo.images.pixels import encode_png

    return made(lambda file: encode_png(file, IMAGES[0]))


def jpeg() -> bytes:
    from PIL import Image

    return made(lambda file: Image.fromarray(IMAGES[0]).save(file, "JPEG"))


def picture_seeds() -> list[bytes]:
    """A file of each format, the JPEG also with a camera's notes."""
    from PIL import Image

    def encoded(kind: str, **options: Any) -> bytes:
        return made(lambda file: Image.fromarray(IMAGES[0]).save(file, kind, **options))

    notes = Image.Exif()
    notes.update({0x112: 6, 0x10F: "maker", 0x11A: 72.5})
    return [png(), jpeg(), encoded("JPEG", exif=notes), *map(encoded, ("WEBP", "TIFF", "BMP", "GIF"))]


def hostile(*names: str) -> list[bytes]:
    return [(HOSTILE / name).read_bytes() for name in names]


def array_seeds() -> list[bytes]:
    whole = made(lambda file: np.savez(file, images=IMAGES, labels=np.arange(4)))
    return [whole, made(lambda file: np.savez_compressed(file, images=IMAGES))]


def gaussian_seeds() -> list[bytes]:
    moments = {"mu": np.zeros(3), "sigma": np.eye(3)}
    plain = made(lambda file: np.savez(file, **moments))
    return [plain, made(lambda file: np.savez_compressed(file, **moments)), *hostile("fid-damaged.npz")]


def statistics_seeds() -> list[bytes]:
    from igan_zoo.serving.scoring.statistics_file import save_statistics
    from tests.serving.scoring.test_statistics_file import WHOLE

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "it.safetensors"
        save_statistics(WHOLE, path)
        return [path.read_bytes(), *hostile("statistics-bf16.safetensors")]


def matlab_seeds() -> list[bytes]:
    from scipy.io import savemat

    arrays = {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.array([[10], [3]], np.uint8)}
    return [made(lambda file, small=small: savemat(file, arrays, do_compression=small)) for small in (True, False)]


def state_dict_seeds() -> list[bytes]:
    import torch

    tensors = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.ones(2, dtype=torch.bfloat16)}
    return [
        made(lambda file, zipped=zipped: torch.save(tensors, file, _use_new_zipfile_serialization=zipped))
        for zipped in (True, False)
    ]


def encoder_seeds() -> list[bytes]:
    from igan_zoo.serving.scorers.onnx_graph import OnnxGraph

    graph = OnnxGraph()
    pixels = graph.input("pixels", np.float32, ["N", 3, 4, 4])
    graph.output("features", graph.node("Flatten", pixels), ["N", 48])
    settings = b'{"size": 4, "mean": [0.5, 0.5, 0.5], "deviation": [0.2, 0.2, 0.2], "crop": true, "resize": "bilinear"}'
    return [settings + b"\n" + graph.to_bytes({})]


def run_seeds() -> list[bytes]:
    import msgspec

    from igan_zoo.training.recipes.catalogue import find_recipe
    from igan_zoo.training.runs.directory import RunFacts

    facts = RunFacts(find_recipe("mnist-ssl"), "mnist", ("0", "1"), 100, 10, "cpu", 1, {"torch": "2"})
    return [msgspec.json.encode(facts)]


def tensor_seeds() -> list[bytes]:
    def request(*inputs: dict[str, Any]) -> bytes:
        return json.dumps({"id": "a", "inputs": inputs, "outputs": [{"name": "x"}]}).encode()

    one = request({"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [[1, 2.5], [3, -4e9]]})
    text = request({"name": "x", "datatype": "BYTES", "shape": [2], "data": ["a", "bc"]})
    sizes = {"binary_data_size": 8}
    binary = request({"name": "x", "datatype": "INT16", "shape": [4], "parameters": sizes})
    words = request({"name": "x", "datatype": "BYTES", "shape": [1], "parameters": sizes})
    return [
        b"\n" + one,
        b"\n" + text,
        b"%d\n" % len(binary) + binary + bytes(8),
        b"%d\n" % len(words) + words + b"\4\0\0\0word",
    ]


def grpc_seeds() -> list[bytes]:
    from igan_zoo.serving.server.protocol.grpc_messages import message

    kind, found = message("inference.ModelInferRequest"), []
    for datatype, field, values in (("FP32", "fp32_contents", [1, 2]), ("BYTES", "bytes_contents", [b"a", b"bc"])):
        request = kind(model_name="m", id="a")
        tensor = request.inputs.add(name="x", datatype=datatype, shape=[2])
        getattr(tensor.contents, field).extend(values)
        found.append(request.SerializeToString())
    raw = kind(model_name="m", raw_input_contents=[bytes(8)])
    raw.inputs.add(name="x", datatype="INT32", shape=[1, 2])
    raw.parameters["timeout"].int64_param = 5
    return [*found, raw.SerializeToString()]


def form_seeds() -> list[bytes]:
    def part(head: str, content: bytes) -> bytes:
        return f"--seam\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + content + b"\r\n"

    image, field = part('name="file"; filename="a.png"', png()), part('name="n"', b"3")
    return [image + b"--seam--\r\n", field + image + image + b"--seam--\r\n"]


def tar_seeds() -> list[bytes]:
    def write(file: io.BytesIO, form: int) -> None:
        with tarfile.open(fileobj=file, mode="w", format=form) as archive:
            for name in ("a.png", "b" * 120 + ".png"):
                member = tarfile.TarInfo(name)
                member.size = len(png())
                archive.addfile(member, io.BytesIO(png()))

    whole = [made(lambda file, form=form: write(file, form)) for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)]
    # Without most of the zeros that fill the end, which teach nothing.
    return [content.rstrip(b"\0") + bytes(1500) for content in (*whole, *hostile("tar-latin1-name.tar"))]


def zip_seeds(second: bytes = bytes(2000)) -> list[bytes]:
    def write(file: io.BytesIO, compression: int) -> None:
        with zipfile.ZipFile(file, "w", compression) as archive:
            archive.writestr("a.png", png())
            archive.writestr("folder/b.jpg", second)

    return [made(lambda file, kind=kind: write(file, kind)) for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)]


TARGETS: dict[str, Target] = {
    "npz": Target("x.npz", source, array_seeds),
    "npy": Target("x.npy", source, lambda: [made(lambda file: np.save(file, IMAGES))]),
    "tar": Target("x.tar", source, lambda: [*tar_seeds(), *hostile("tar-0097.tar")]),
    "gaussian": Target("gaussian.npz", gaussian, gaussian_seeds),
    "statistics": Target("it.safetensors", statistics, statistics_seeds),
    "config": Target(
        "config.json", config, lambda: [(BUNDLED / "config.json").read_bytes(), *hostile("config-nul-name.json")]
    ),
    "zip": Target("x.zip", source, lambda: zip_seeds(png())),
    "idx": Target("train-images-idx3-ubyte", source, lambda: [b"\0\0\x08\3" + struct.pack(">3I", 2, 3, 4) + bytes(24)]),
    "labels": Target("labels.csv", labels, lambda: LABELS),
    "graph": Target("graph.onnx", graph, lambda: hostile("onnx-keyerror.onnx", "external-secret.onnx")),
    "matlab": Target("test_32x32.mat", matlab, matlab_seeds),
    "parquet.pages": Target("pages", parquet_pages, lambda: [b"\x15\0\x15\6\x15\6\x2c\x15\2\x19\x25\2\4\0\0abc" * 2]),
    "state_dict": Target("x.pth", state_dict, state_dict_seeds),
    "encoder": Target("encoder.onnx", encoder, encoder_seeds),
    "run.facts": Target("facts.json", run_facts, run_seeds),
    "run.log": Target("log.jsonl", run_log, lambda: [b'{"epoch": 1, "loss": 2.5}\n{"epoch": 2, "loss": NaN}\n']),
    "tensors": Target("request", tensors, tensor_seeds),
    "tensors.grpc": Target("request.pb", grpc_tensors, grpc_seeds),
    "latents": Target("latents.json", latents, lambda: [b'{"latents": [[0, 1.5], [-2e3, 4]], "model": "m"}']),
    "picture": Target("picture", picture, picture_seeds),
    "body.gzip": Target("body.gz", plain, lambda: [gzip.compress(b"{}" * 100, mtime=0)]),
    "upload.form": Target("upload.form", upload, form_seeds),
    "upload.tar": Target("upload.tar", upload, tar_seeds),
    "upload.zip": Target("upload.zip", upload, zip_seeds),
}


def main() -> None:
    """Runs one target under atheris, from a corpus that grows in ``--corpus``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--corpus", type=Path, default=Path("build/fuzzing"))
    arguments = parser.parse_args()
    import atheris

    logging.disable()

    async def here(function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)

    # Threads are slow to start, and what they run does not depend on them.
    asyncio.to_thread = here  # type: ignore[assignment]
    target, corpus = TARGETS[arguments.target], arguments.corpus / arguments.target
    corpus.mkdir(parents=True, exist_ok=True)
    with atheris.instrument_imports(include=["igan_zoo", "multipart", "python_multipart", "tarfile", "zipfile"]):
        for number, seed in enumerate(target.seeds()):
            (corpus / f"seed-{number}").write_bytes(seed)
            with tempfile.TemporaryDirectory() as folder:
                target(seed, Path(folder))
    options = [f"-max_total_time={arguments.seconds}", "-rss_limit_mb=1024", "-timeout=20", "-max_len=100000"]
    with scratch() as folder:
        atheris.Setup(
            [sys.argv[0], *options, f"-artifact_prefix={corpus}-", "-print_final_stats=1", str(corpus)],
            lambda content: target(content, folder),
        )
        atheris.Fuzz()


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder in memory, where there is one: each input becomes a file."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


if __name__ == "__main__":
    main()
