"""What classify takes, and the forms of its answers."""

from __future__ import annotations

import csv
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

Cli = Callable[..., tuple[int, str, str]]
DIGITS = Path(__file__).parents[3] / "docs" / "digits"


@pytest.fixture
def paper(tmp_path: Path) -> Path:
    """A seven as a person photographs it: dark on light."""
    with Image.open(DIGITS / "7.png") as image:
        Image.fromarray(200 - np.asarray(image.convert("L")) // 2).save(tmp_path / "paper.png")
    return tmp_path / "paper.png"


def test_a_dark_digit_on_light_paper_has_a_note(igan_zoo: Cli, paper: Path) -> None:
    code, out, _ = igan_zoo("classify", "mnist-ssl", DIGITS / "7.png", paper)
    assert code == 0
    head, seven, dark = out.splitlines()
    assert head.split()[-1] == "note"
    assert "dark on light" not in seven
    assert dark.endswith("dark on light; the model expects light on dark")
    assert "note" not in igan_zoo("classify", "mnist-ssl", DIGITS / "7.png")[1]
    (answer,) = json.loads(igan_zoo("classify", "mnist-ssl", paper, "--json")[1])
    assert answer["note"].startswith("dark on light")


def test_answers_as_csv(igan_zoo: Cli, paper: Path) -> None:
    code, out, _ = igan_zoo("classify", "mnist-ssl", DIGITS / "7.png", paper, "--csv", "--top", 2)
    assert code == 0
    seven, dark = csv.DictReader(io.StringIO(out))
    assert list(seven) == ["file", "class", "probability", "class_2", "probability_2", "realness", "note"]
    assert (seven["file"], seven["class"], seven["note"]) == (str(DIGITS / "7.png"), "7", "")
    assert dark["note"].startswith("dark on light")
    assert igan_zoo("classify", "mnist-ssl", paper, "--csv", "--json")[0] == 2


def test_archives_arrays_and_standard_input(igan_zoo: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Image.open(DIGITS / "1.png") as image:
        one = np.asarray(image.convert("L"))
    np.savez(tmp_path / "digits.npz", images=np.stack([one, one])[..., None])
    with tarfile.open(tmp_path / "digits.tar", "w") as archive:
        archive.add(DIGITS / "4.png", "4.png")
    given = DIGITS / "7.png", tmp_path / "digits.npz", tmp_path / "digits.tar"
    code, out, errors = igan_zoo("classify", "mnist-ssl", *given, "--json")
    assert code == 0, errors
    answers = json.loads(out)
    assert [answer["classes"][0][0] for answer in answers] == ["7", "1", "1", "4"]
    assert "4.png" in answers[-1]["file"]

    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO((DIGITS / "2.png").read_bytes())))
    code, out, _ = igan_zoo("classify", "-", "--csv")
    assert code == 0
    assert out.splitlines()[1].startswith("-,2,0.9")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO()))
    assert "Error: Standard input is empty." in igan_zoo("classify", "-")[2]


def test_classes_of_imagenet_have_words(igan_zoo: Cli, tmp_path: Path) -> None:
    Image.new("RGB", (128, 128), "green").save(tmp_path / "green.png")
    code, out, _ = igan_zoo(
        "classify", Path(__file__).parents[3] / "models" / "imagenet128", tmp_path / "green.png", "--top", 10
    )
    assert code == 0
    assert "English springer" in out
    assert "n02102040" not in out


def test_samples_as_one_picture_and_counts_as_people_write_them(igan_zoo: Cli, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    code, out, _ = igan_zoo("sample", "mnist-ssl", "--n", "9", "--out", picture)
    assert (code, len(out.splitlines())) == (0, 1)
    with Image.open(picture) as image:
        assert image.size == (3 * 29 + 1, 3 * 29 + 1)
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]
    assert "already exists" in igan_zoo("sample", "mnist-ssl", "--out", picture)[2]
    code, _, errors = igan_zoo("sample", "mnist-ssl", "--n", "5k", "--out", tmp_path / "many.png")
    assert (code, "shows at most 2,500 images, not 5,000" in errors) == (1, True)
    assert "1,500 images" in igan_zoo("sample", "mnist-ssl", "--n", "1.5k", "--out", tmp_path / "s.npz")[1]
    assert igan_zoo("sample", "mnist-ssl", "--n", "1.0005k", "--out", tmp_path / "t.npz")[0] == 2
    assert igan_zoo("sample", "mnist-ssl", "--n", "many", "--out", tmp_path / "t.npz")[0] == 2


def test_a_folder_is_counted_before_work(igan_zoo: Cli, tmp_path: Path) -> None:
    """Once, on stderr, with what it passes over; single images need no words."""
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(DIGITS / "7.png", photos)
    (photos / "raw.nef").write_bytes(b"raw")
    (photos / "notes.txt").write_text("words")
    with tarfile.open(tmp_path / "digits.tar", "w") as archive:
        archive.add(DIGITS / "4.png", "4.png")
        archive.add(DIGITS / "4.png", ".4.png")
    code, out, errors = igan_zoo("classify", "mnist-ssl", photos, tmp_path / "digits.tar", "--json")
    assert code == 0
    assert [answer["classes"][0][0] for answer in json.loads(out)] == ["7", "4"]
    assert errors.splitlines()[1:-1] == [
        f"{photos}, {tmp_path / 'digits.tar'}: 2 images (PNG 1)",
        "Ignored: 1 .txt file (notes.txt); 1 hidden or system file (.4.png)",
        "Passed over: 1 .nef image in an unsupported format (raw.nef)",
    ]
    assert len(igan_zoo("classify", "mnist-ssl", DIGITS / "7.png", DIGITS / "4.png")[2].splitlines()) == 2
    (tmp_path / "shards").mkdir()
    shutil.copy(tmp_path / "digits.tar", tmp_path / "shards" / "00000.tar")
    _, out, errors = igan_zoo("classify", "mnist-ssl", tmp_path / "shards", "--csv")
    assert "4.png,4," in out.splitlines()[1]
    assert f"{tmp_path / 'shards'}: 1 image\n" in errors
    (photos / "7.png").unlink()
    code, _, errors = igan_zoo("classify", "mnist-ssl", photos)
    assert code == 1
    assert f"There is no image in {photos}; it has 1 .nef image in an unsupported format (raw.nef)." in errors


@pytest.mark.parametrize("command", [("classify", "mnist-ssl"), ("inspect",)], ids=str)
def test_names_cannot_break_lines_or_color_the_terminal(
    igan_zoo: Cli, tmp_path: Path, command: tuple[str, ...]
) -> None:
    folder = tmp_path / "four\nor\tnine"
    folder.mkdir()
    shutil.copy(DIGITS / "4.png", folder / "a\n\x1b[31m.png")
    (folder / "b\r\x1b[31m.png").write_text("no image")
    (folder / "c\n.txt").write_text("words")
    _, out, errors = igan_zoo(*command, tmp_path)
    said = (out + errors).split("\n")
    assert all(line.isprintable() for line in said)
    assert len(said) <= 8
    assert r"four\nor\tnine" in out
