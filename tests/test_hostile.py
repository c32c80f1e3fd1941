"""Foreign files that once broke a command: each is one sentence now, soon and in little memory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from tests.conftest import REPOSITORY

FILES = REPOSITORY / "tests" / "hostile"
BUNDLED = REPOSITORY / "zoo" / "bundled" / "mnist-ssl"
DIGIT = str(REPOSITORY / "docs" / "digits" / "7.png")
MODEL = "mnist-ssl"
SECONDS, BYTES = 5, 10**9

CASES = {
    "npy-tokenerror.npy": ("score FILE", "is not a NumPy array"),
    "npz-2e63-b.npz": ("score FILE", "more than 16,000,000 pixels"),
    "npz-2e63-images.npz": ("score FILE", "more than 16,000,000 pixels"),
    "npz-bad-member-name.npz": ("score FILE", "is not a complete .npz file"),
    "npz-flipped-pixel.npz": ("score FILE", "the checksum of images.npy is not the one in the archive"),
    "tar-0097.tar": ("score FILE", "is not a complete tar archive"),
    "tar-latin1-name-cut.tar": ("score FILE", "is truncated inside"),
    "tar-latin1-name.tar": ("score FILE", "A score needs 2"),
    "fid-damaged.npz": ("merge-scores STATISTICS --metric fid --reference FILE", "is not an .npz with float mu"),
    "statistics-bf16.safetensors": ("merge-scores FILE", "is not a statistics file"),
    "statistics-rank5000.safetensors": ("merge-scores FILE", "is not a statistics file"),
    "svhn-crash-test_32x32.mat": ("evaluate MODEL --data SVHN", "is not a MATLAB file, or is damaged"),
    "config-two-classes.json": ("classify DIRECTORY DIGIT", "but config.json says [2]"),
    "config-nul-name.json": ("verify DIRECTORY", "has a character that cannot be printed"),
    "onnx-keyerror.onnx": ("classify FILE DIGIT", "C is 1 or 3"),
    "external-secret.onnx": ("sample FILE --out OUT", "weights in other files"),
}


@pytest.fixture
def words(tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    """What the words in capitals stand for: files of this test's own."""
    from igan_zoo.serving.scoring.statistics_file import save_statistics
    from tests.serving.scoring.test_statistics_file import WHOLE

    file = FILES / request.node.callspec.params["name"]
    shutil.copytree(BUNDLED, tmp_path / "model")
    if file.suffix == ".json":
        shutil.copy(file, tmp_path / "model" / "config.json")
    (tmp_path / "svhn").mkdir()
    shutil.copy(FILES / "svhn-crash-test_32x32.mat", tmp_path / "svhn" / "test_32x32.mat")
    save_statistics(WHOLE, tmp_path / "statistics.safetensors")
    return {
        "FILE": str(file),
        "MODEL": MODEL,
        "DIGIT": DIGIT,
        "DIRECTORY": str(tmp_path / "model"),
        "SVHN": str(tmp_path / "svhn"),
        "STATISTICS": str(tmp_path / "statistics.safetensors"),
        "OUT": str(tmp_path / "out.npz"),
    }


# The memory of a process counts that of its parent when it was started, which must be a small one.
_MEASURE = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, used = os.wait4(process.pid, 0)
print(os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, used.ru_maxrss)
"""


def run(arguments: list[str], folder: Path) -> tuple[int, str, float, int]:
    """Exit code, what it said on stderr, CPU seconds and the most memory of a command."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _MEASURE, sys.executable, "-m", "igan_zoo", *arguments]
    with (folder / "said").open("w+") as said:
        measured = subprocess.run(command, stdout=subprocess.PIPE, stderr=said, env=environment, check=True).stdout
        said.seek(0)
        code, seconds, kilobytes = measured.split()
        return int(code), said.read(), float(seconds), int(kilobytes) * 1024


def check(answer: tuple[int, str, float, int], part: str) -> None:
    code, said, seconds, memory = answer
    assert code in (1, 2), said
    assert said.count("Error: ") == 1
    assert "Traceback" not in said
    assert part in said
    assert seconds < SECONDS
    assert memory < BYTES


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_file_is_one_sentence(name: str, words: dict[str, str], tmp_path: Path) -> None:
    command, part = CASES[name]
    arguments = [words.get(word, word) for word in command.split()]
    if command == "score FILE":
        arguments += ["--scorer", MODEL, "--splits", "1"]
    check(run(arguments, tmp_path), part)


def test_every_file_is_tried() -> None:
    assert {path.name for path in FILES.iterdir()} == {*CASES, "README.md", "tar-latin1-name-bad-image.tar"}


def test_a_bad_image_under_a_name_of_another_encoding_is_left_out(tmp_path: Path) -> None:
    arguments = ["score", str(FILES / "tar-latin1-name-bad-image.tar"), "--scorer", MODEL, "--splits", "1"]
    code, said, _, _ = run(arguments, tmp_path)
    assert (code, said.count("Left out: ")) == (0, 1)


def test_deep_metadata_of_a_graph_names_no_classes(tmp_path: Path) -> None:
    model = onnx.load(BUNDLED / "onnx" / "classifier.onnx")
    del model.metadata_props[:]
    model.metadata_props.add(key="igan_zoo.classes", value="[" * 100_000)
    onnx.save(model, tmp_path / "deep.onnx")
    for command in (["classify", str(tmp_path / "deep.onnx"), DIGIT], ["info", str(tmp_path / "deep.onnx")]):
        code, said, _, _ = run(command, tmp_path)
        assert (code, "Traceback" in said) == (0, False)


def test_a_large_number_of_images_in_few_bytes_takes_little_memory(tmp_path: Path) -> None:
    """20 rows of 40 MB each, which parquet stores once. Made elsewhere: a process starts with its parent's memory."""
    pytest.importorskip("pyarrow", reason="parquet files need the data extra")
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.zoo.images.test_sources import pictures, png, write_parquet\n"
        "image = {'bytes': png(pictures(1)[0]) + bytes(40_000_000), 'path': None}\n"
        "write_parquet(Path(sys.argv[1]), [image] * 20, dictionary_pagesize_limit=2**30)"
    )
    path = tmp_path / "it.parquet"
    subprocess.run([sys.executable, "-c", code, str(path)], cwd=REPOSITORY, check=True)
    assert path.stat().st_size < 3_000_000
    code_of_score, said, _, memory = run(["score", str(path), "--scorer", MODEL, "--splits", "1"], tmp_path)
    assert code_of_score == 0, said
    assert memory < BYTES
