"""The stand-in for the Hub, judged by clients that we did not write: what one publishes, another one reads."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from igan_zoo.hub import publishing, pulling
from igan_zoo.models.directory import ModelDirectory
from tests.environments import environment
from tests.hub_standin.repositories import WRITE_TOKEN
from tests.hub_standin.server import StandIn

# huggingface_hub's own, when it uploads without Xet.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

_UPLOAD = """
import { createRepo, uploadFiles } from "@huggingface/hub";
import { readFile, readdir } from "node:fs/promises";
const [hubUrl, accessToken, directory] = process.argv.slice(2);
const repo = { type: "model", name: "org/tiny" };
await createRepo({ repo, accessToken, hubUrl });
const entries = await readdir(directory, { recursive: true, withFileTypes: true });
const paths = entries.filter((e) => e.isFile()).map((e) => `${e.parentPath ?? e.path}/${e.name}`);
const files = await Promise.all(paths.map(async (path) => (
  { path: path.slice(directory.length + 1), content: new Blob([await readFile(path)]) })));
const { commit } = await uploadFiles({ repo, accessToken, hubUrl, files });
console.log(commit.oid);
"""

_DOWNLOAD = """
import { downloadFile, listFiles, modelInfo } from "@huggingface/hub";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
const [hubUrl, accessToken, directory] = process.argv.slice(2);
const repo = { type: "model", name: "org/tiny" };
console.log((await modelInfo({ name: "org/tiny", hubUrl, accessToken, additionalFields: ["tags"] })).tags.join(" "));
for await (const { path, type } of listFiles({ repo, hubUrl, accessToken, recursive: true })) {
  if (type !== "file") continue;
  const blob = await downloadFile({ repo, path, hubUrl, accessToken });
  await mkdir(dirname(`${directory}/${path}`), { recursive: true });
  await writeFile(`${directory}/${path}`, Buffer.from(await blob.arrayBuffer()));
}
"""


def node(script: str, *arguments: object) -> str:
    """Runs a script beside the installed package, which is how node finds it."""
    path = environment("node") / f"igan-zoo-{os.getpid()}.mjs"
    path.write_text(script)
    try:
        command = ["node", path, *map(str, arguments)]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    finally:
        path.unlink()
    assert result.returncode == 0, result.stderr
    return result.stdout


def content(path: Path) -> dict[str, bytes]:
    files = {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}
    return {name: content for name, content in files.items() if name != ".gitattributes"}


def test_what_javascript_publishes_we_pull(standin: StandIn, model: Path) -> None:
    commit = node(_UPLOAD, standin.endpoint, WRITE_TOKEN, model).strip()
    directory = pulling.pull(f"org/tiny@{commit}")
    assert content(directory.path) == content(model)


@pytest.mark.parametrize("xet", [False, True])
def test_what_we_publish_javascript_reads(
    standin: StandIn, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, xet: bool
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", not xet)
    publishing.publish(ModelDirectory.open(model), "org/tiny", token=WRITE_TOKEN)
    tags = node(_DOWNLOAD, standin.endpoint, WRITE_TOKEN, tmp_path / "read")
    assert "igan-zoo" in tags.split()
    assert content(tmp_path / "read") == content(model)


@pytest.fixture
def olah(standin: StandIn, tmp_path: Path) -> Iterator[str]:
    """A pull-through mirror in front of the stand-in; returns its address."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    upstream, here = standin.endpoint.removeprefix("http://"), f"127.0.0.1:{port}"
    options = {
        "--host": "127.0.0.1",
        "--port": port,
        "--hf-scheme": "http",
        "--hf-netloc": upstream,
        "--hf-lfs-netloc": upstream,
        "--mirror-netloc": here,
        "--mirror-lfs-netloc": here,
        "--repos-path": tmp_path / "olah",
        "--log-path": tmp_path / "logs",
    }
    program = environment("olah") / "bin" / "olah-cli"
    command = [str(program), *(str(part) for option in options.items() for part in option)]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                # Its own page may be out of order: newer packages are called in another way.
                socket.create_connection(("127.0.0.1", port), timeout=20).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield f"http://{here}"
    finally:
        process.terminate()
        process.wait(60)


def test_a_mirror_in_between_serves_the_same_bytes_and_asks_for_large_files_once(
    standin: StandIn, olah: str, exported_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, commit = standin.add("org/tiny", exported_model)
    monkeypatch.setattr(constants, "ENDPOINT", olah)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", olah + "/{repo_id}/resolve/{revision}/{filename}")
    directory = pulling.pull(f"org/tiny@{commit}", to=tmp_path / "first")
    label = directory.place
    assert (label, content(directory.path)) == ("Hub", content(exported_model))
    assert any("resolve" in request for request in standin.requests)
    shutil.rmtree(constants.HF_HUB_CACHE)
    asked = len([request for request in standin.requests if request.startswith("GET /lfs")])
    directory = pulling.pull(f"org/tiny@{commit}", to=tmp_path / "second")
    assert content(directory.path) == content(exported_model)
    assert len([request for request in standin.requests if request.startswith("GET /lfs")]) == asked
