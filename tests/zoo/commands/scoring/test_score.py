"""``igan-zoo score``: the same bits however the work is cut up, every number under its own name, and refusals."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from igan_zoo.errors import InterfaceError
from igan_zoo.models.interface import SCORER_KEY
from igan_zoo.serving.engine import Engine
from igan_zoo.serving.scoring.metrics.frechet_distance import gaussian
from igan_zoo.serving.scoring.metrics.inception_score import inception_score_reference
from igan_zoo.serving.scoring.network import Network, open_network
from igan_zoo.serving.scoring.statistics import Facts
from igan_zoo.serving.scoring.statistics_file import load_statistics, save_gaussian
from tests.conftest import igan_zoo_process
from tests.serving.test_engine import scorer_graph

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def scorer(tmp_path: Path) -> Path:
    """Features: the mean of every channel; logits: twice that."""
    path = tmp_path / "toy.onnx"
    path.write_bytes(scorer_graph(["N", "H", "W", 3]))
    return path


def colours(count: int, seed: int, *, size: tuple[int, int] = (6, 5)) -> Any:
    """Images mostly red, then green, then blue, in the order of these classes."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 60, (count, *size, 3), np.uint8)
    for index, image in enumerate(images):
        image[..., index * 3 // count] += random.integers(2, 12, dtype=np.uint8)
    return images


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    np.savez(tmp_path / "images.npz", images=colours(90, 1))
    return tmp_path / "images.npz"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """40 PNG files of three sizes in the order of their classes, two of which do not decode."""
    path = tmp_path / "photos"
    path.mkdir()
    for index in range(40):
        image = colours(40, 2, size=((6, 5), (9, 4), (3, 3))[index % 3])[index]
        Image.fromarray(image).save(path / f"{index:02}.png")
    for index in (7, 33):
        (path / f"{index:02}.png").write_bytes(b"no image")
    return path


def records(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def values(output: str) -> list[tuple[str, str, float]]:
    return [(record["protocol"], record["quantity"], record["value"]) for record in records(output)]


def refused(result: tuple[int, str, str], message: str, code: int = 1) -> None:
    assert result[0] == code, result
    (sentence,) = [line for line in result[2].splitlines() if line.startswith("Error: ")]
    assert message in sentence
    assert result[1] == ""


def test_a_record_says_everything_that_its_number_depends_on(igan_zoo: Cli, npz: Path, scorer: Path) -> None:
    code, output, _ = igan_zoo("score", npz, "--scorer", scorer, "--format", "json")
    assert code == 0
    split, unsplit, corrected = records(output)
    logits = Engine({"scorer": scorer.read_bytes()}).run("scorer", {"images": np.load(npz)["images"]})["logits"]
    facts = Facts(scorer="", scorer_sha256="", resize="", source="", images=90, features=3, classes=3)
    expected = inception_score_reference(facts, logits)
    # The sums are of probabilities in steps of 2⁻⁴⁰, the correction's of coarser ones.
    assert split["value"] == pytest.approx(expected.mean, rel=1e-8)
    assert unsplit["value"] == pytest.approx(expected.unsplit, rel=1e-8)
    assert corrected["value"] == pytest.approx(expected.corrected, rel=1e-4)
    sha256 = split["scorer_sha256"]
    assert split == split | {
        "protocol": "is90",
        "metric": f"classifier score (toy-{sha256[:8]})",
        "quantity": "split mean",
        "images": 90,
        "skipped": 0,
        "splits": 10,
        "seed": 2020,
        "scorer": f"toy-{sha256[:8]}",
        "resize": "inside the graph",
        "precision": "fp32",
        "source": f"{npz}[images]",
        "provider": "CPUExecutionProvider",
    }
    assert len(split["fingerprint"]) == len(sha256) == 64
    assert split["time"].endswith("+00:00")
    assert {"igan-zoo", "numpy", "pillow"} <= set(split["versions"])


def test_tables_and_csv_have_the_numbers_of_the_lines_of_json(
    igan_zoo: Cli, npz: Path, scorer: Path, tmp_path: Path
) -> None:
    lines = records(igan_zoo("score", npz, "--scorer", scorer, "--format", "json")[1])
    table = igan_zoo("score", npz, "--scorer", scorer)[1].splitlines()
    assert table[0].split() == ["metric", "protocol", "quantity", "value", "standard", "error", "deviation"]
    for line, row in zip(lines, table[1:], strict=True):
        assert row.startswith(f"classifier score (toy-{line['scorer_sha256'][:8]})  is90")
        assert f"{line['value']:.6g}" in row
    assert "Inception" not in "".join(table)
    out = tmp_path / "scores.csv"
    code, output, _ = igan_zoo("score", npz, "--scorer", scorer, "--format", "csv", "--out", out)
    assert (code, output) == (0, f"{out}: 3 numbers\n")
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert [float(row["value"]) for row in rows] == [line["value"] for line in lines]
    assert rows[0]["reference"] == ""
    refused(igan_zoo("score", npz, "--scorer", scorer, "--out", out), "already exists")
    assert igan_zoo("score", npz, "--scorer", scorer, "--out", out, "--force")[0] == 0


def test_images_in_the_order_of_their_classes_score_as_in_any_order(
    igan_zoo: Cli, npz: Path, scorer: Path, tmp_path: Path
) -> None:
    """Splits as the images come would be of one colour each, and score 1."""
    images = np.load(npz)["images"]
    np.save(tmp_path / "other.npy", images[np.random.default_rng(0).permutation(90)])
    ordered, shuffled = (
        records(igan_zoo("score", path, "--scorer", scorer, "--splits", 3, "--format", "json")[1])
        for path in (npz, tmp_path / "other.npy")
    )
    assert ordered[1]["value"] == shuffled[1]["value"] > 1.5
    assert ordered[0]["value"] == pytest.approx(ordered[1]["value"], rel=0.1)
    (few, *_) = records(igan_zoo("score", npz, "--scorer", scorer, "--n", 30, "--splits", 1, "--format", "json")[1])
    assert few["protocol"] == "is30"
    assert few["value"] > 1.5


@pytest.mark.parametrize("count", [1, 3, 7])
def test_shards_merge_to_the_bytes_of_one_run(
    igan_zoo: Cli, folder: Path, scorer: Path, tmp_path: Path, count: int
) -> None:
    """Of images of several sizes, some of which do not decode, in batches of other sizes, called by another name."""
    options = ["--scorer", scorer, "--metric", "is", "--metric", "pr"]
    whole = tmp_path / "whole.safetensors"
    code, expected, errors = igan_zoo(
        "score", folder, *options, "--reference", folder, "--save-statistics", whole, "--format", "json"
    )
    assert code == 0, errors
    assert errors.count("33.png is not a PNG, JPEG, WebP, TIFF, BMP, GIF or AVIF image") == 2
    parts = [tmp_path / f"{shard}.safetensors" for shard in range(1, count + 1)]
    for shard, part in enumerate(parts, start=1):
        batch = ["--batch-size", 3 * shard]
        code, output, _ = igan_zoo("score", folder, *options, "--shard", f"{shard}/{count}", "--out", part, *batch)
        assert code == 0
        assert output.startswith(f"{part}: shard {shard}/{count}, ")
    merged = tmp_path / "merged.safetensors"
    files = [*parts[1:], parts[0]]
    code, output, errors = igan_zoo(
        "merge-scores", *files, *options[2:], "--reference", whole, "--save-statistics", merged, "--format", "json"
    )
    assert code == 0, errors
    assert values(output) == values(expected)
    assert [(record["protocol"], record["skipped"]) for record in records(output)][::4] == [("is38", 2), ("pr38", 2)]
    assert merged.read_bytes() == whole.read_bytes()
    if count > 1:
        refused(igan_zoo("merge-scores", *files[1:]), "Shard 2/")
        refused(igan_zoo("merge-scores", *files, files[0]), "appear twice")


def test_a_folder_may_be_called_as_any_command(
    igan_zoo: Cli, folder: Path, scorer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.rename(folder.with_name("merge"))
    monkeypatch.chdir(folder.parent)
    code, output, errors = igan_zoo("score", "merge", "--scorer", scorer, "--format", "json")
    assert code == 0, errors
    assert records(output)[0]["source"] == "merge"


def test_killed_at_any_moment_the_same_command_goes_on_to_the_same_bytes(
    igan_zoo: Cli, scorer: Path, tmp_path: Path
) -> None:
    images = colours(300, 3)
    source, whole, out = tmp_path / "many", tmp_path / "whole.safetensors", tmp_path / "part.safetensors"
    source.mkdir()
    for index, image in enumerate(images):
        Image.fromarray(image[: 4 + index % 2]).save(source / f"{index:03}.png")
    (source / "017.png").write_bytes(b"no image")
    assert igan_zoo("score", source, "--scorer", scorer, "--save-statistics", whole, "--no-cache")[0] == 0
    command = ["score", source, "--scorer", scorer, "--save-statistics", out, "--no-cache", "--threads", 1]
    random, known = np.random.default_rng(), 0
    for _ in range(4):
        process = igan_zoo_process(*command, "--batch-size", 1, "--save-every", 0)
        while process.poll() is None and not any(tmp_path.glob("part.safetensors.*.partial")):
            time.sleep(0.002)
        time.sleep(random.uniform(0, 0.1))
        process.kill()
        process.communicate()
        for partial in tmp_path.glob("part.safetensors.*.partial"):
            done = int(load_statistics(partial).done.sum())
            assert done >= known
            known = done
    assert known > 0
    code, _, errors = igan_zoo(*command)
    assert code == 0
    assert "017.png is not a PNG, JPEG, WebP, TIFF, BMP, GIF or AVIF image" in errors
    assert out.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob("*.partial"))


def test_what_an_interrupted_run_knows_is_used(
    igan_zoo: Cli, npz: Path, scorer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from igan_zoo.serving.scoring import gathering

    asked: list[int] = []
    plain = gathering.answers

    def counted(batches: Any, network: Any) -> Any:
        for batch in plain(batches, network):
            asked.extend(batch[0].indices)
            if len(asked) == 60:
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr(gathering, "answers", counted)
    command = ("score", npz, "--scorer", scorer, "--batch-size", 10, "--save-every", 0, "--format", "json")
    refused(igan_zoo(*command), "Interrupted")
    assert asked == list(range(60))
    code, output, _ = igan_zoo(*command)
    assert code == 0
    assert asked[60:] == list(range(50, 90))
    assert values(output) == values(igan_zoo(*command, "--no-cache")[1])


def test_the_same_images_are_scored_once(
    igan_zoo: Cli, npz: Path, scorer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = igan_zoo("score", npz, "--scorer", scorer, "--format", "json")[1]
    monkeypatch.setattr(Network, "answer", lambda *_: pytest.fail("scored again"))
    moved = tmp_path / "moved.npz"
    shutil.copyfile(npz, moved)
    code, again, _ = igan_zoo("score", moved, "--scorer", scorer, "--format", "json")
    assert code == 0
    assert values(again) == values(first)
    other = tmp_path / "other.onnx"
    other.write_bytes(scorer_graph(["N", "Height", "W", 3]))
    for changed in (["--no-cache"], ["--seed", 1], ["--splits", 5], ["--n", 80], ["--scorer", other]):
        with pytest.raises(pytest.fail.Exception, match="scored again"):
            igan_zoo("score", npz, "--scorer", scorer, *changed)


def test_without_the_cache_nothing_is_kept(igan_zoo: Cli, npz: Path, scorer: Path) -> None:
    assert igan_zoo("score", npz, "--scorer", scorer, "--no-cache")[0] == 0
    assert not (Path(os.environ["IGAN_ZOO_HOME"]) / "scores").exists()


def test_a_reference_is_images_or_statistics_or_pytorch_fids_file(
    igan_zoo: Cli, npz: Path, scorer: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "real.npy", colours(70, 8))
    saved, exported = tmp_path / "real.safetensors", tmp_path / "real.npz"
    command = ("score", npz, "--scorer", scorer, "--metric", "fid", "--format", "json")
    common = ("--scorer", scorer, "--metric", "kid", "--subset-size", 30, "--reference", npz)
    assert igan_zoo("score", tmp_path / "real.npy", *common, "--save-statistics", saved)[0] == 0
    save_gaussian(gaussian(load_statistics(saved)), exported)
    of_images, of_sums, of_gaussian = (
        records(igan_zoo(*command, "--reference", reference)[1])[0]
        for reference in (tmp_path / "real.npy", saved, exported)
    )
    assert of_images["metric"].startswith("Fréchet distance (toy-")
    assert of_images["value"] == of_sums["value"] == of_gaussian["value"] > 0
    assert of_images["reference_fingerprint"] == of_sums["reference_fingerprint"]
    assert of_gaussian["reference_fingerprint"] is None
    code, output, _ = igan_zoo(*command[:4], "--metric", "kid", "--subset-size", 40, "--reference", saved)
    assert code == 0
    assert "kernel distance" in output
    refused(igan_zoo(*command[:4], "--metric", "pr", "--reference", exported), "has a mean and a covariance only")
    refused(igan_zoo("merge-scores", saved, "--metric", "fid", "--reference", npz), "not a statistics file", 2)


def test_a_classifier_gives_the_score_of_its_name(igan_zoo: Cli, model: Path, folder: Path, tmp_path: Path) -> None:
    """Images are brought to its size as classify does it."""
    code, output, _ = igan_zoo("score", folder, "--scorer", model, "--splits", 4, "--format", "json")
    assert code == 0
    record = records(output)[0]
    assert record == record | {
        "metric": "classifier score (tiny)",
        "scorer": "tiny",
        "resize": "pillow-bilinear-28x28",
    }
    files = sorted(folder.glob("[0-2][0-68-9].png"))
    answers = json.loads(igan_zoo("classify", model, *files, "--top", 10, "--json")[1])
    probabilities = np.array([[share for _, share in sorted(answer["classes"])] for answer in answers])
    facts = Facts(scorer="", scorer_sha256="", resize="", source="", images=len(files), features=0, classes=10)
    (tmp_path / "few").mkdir()
    for file in files:
        shutil.copy(file, tmp_path / "few")
    score = records(igan_zoo("score", tmp_path / "few", "--scorer", model, "--format", "json")[1])[1]["value"]
    expected = inception_score_reference(facts, np.log(probabilities)).unsplit
    # Printed probabilities are float32.
    assert score == pytest.approx(expected, rel=1e-5)


def test_a_classifier_has_no_features_to_compare(igan_zoo: Cli, model: Path, npz: Path) -> None:
    for metric in ("fid", "kid", "pr"):
        result = igan_zoo("score", npz, "--scorer", model, "--metric", metric, "--reference", npz)
        refused(result, f"{metric} compares features, and the classifier tiny gives only classes")


def test_samples_are_scored_as_they_are_drawn(igan_zoo: Cli, model: Path, tmp_path: Path) -> None:
    command = ("--scorer", model, "--metric", "is", "--format", "json")
    code, drawn, errors = igan_zoo("score", model, "--n", 230, "--model-seed", 5, *command)
    assert code == 0
    assert "230 images of tiny" in errors
    # Blocks of 100, as a model source draws them, so that the bits are the same.
    samples = tmp_path / "samples.npz"
    igan_zoo("sample", model, "--n", 300, "--seed", 5, "--batch-size", 100, "--out", samples)
    np.save(tmp_path / "drawn.npy", np.load(samples)["images"][:230])
    assert values(igan_zoo("score", tmp_path / "drawn.npy", *command)[1]) == values(drawn)
    assert values(igan_zoo("score", model, "--n", 230, "--model-seed", 6, *command)[1]) != values(drawn)


def test_strict_fails_at_an_image_that_does_not_decode(igan_zoo: Cli, folder: Path, scorer: Path) -> None:
    command = ("score", folder, "--scorer", scorer)
    refused(igan_zoo(*command, "--strict"), "07.png is not a PNG, JPEG, WebP, TIFF, BMP, GIF or AVIF image")
    code, _, errors = igan_zoo(*command)
    assert code == 0
    assert "Left out: " in errors
    refused(igan_zoo(*command, "--strict"), "07.png is not a PNG, JPEG, WebP, TIFF, BMP, GIF or AVIF image")


@pytest.mark.parametrize(
    ("options", "message", "code"),
    [
        (["--n", 9], "9 images cannot be divided into 10 splits", 1),
        (["--n", 1, "--splits", 1], "needs 2 to", 1),
        (["--n", 91], "The source has 90 images instead of 91", 1),
        (["--metric", "fid"], "name them with --reference", 2),
        (
            ["--metric", "is", "--reference", "x.npz"],
            "--reference needs a metric that compares",
            2,
        ),
        (["--metric", "kid", "--reference", "images.npz"], "subsets of 1,000 images", 1),
        (["--metric", "fid", "--reference", "nothing.npz"], "There are no images at nothing.npz", 1),
        (["--metric", "fid", "--reference", "nothing.safetensors"], "no statistics file nothing.safetensors", 1),
        (["--shard", "1/3"], "name the file with --out", 2),
        (["--shard", "4/3", "--out", "x"], "not a shard like 3/8", 2),
        (["--shard", "1/91", "--out", "x"], "no shard 1/91 of 90 images", 1),
        (["--scorer", "nobody"], "There is no model 'nobody'", 1),
        (["--scorer", "inception-2015"], "A scorer may also be inception-2015-12-05, inception-2015-12-05-clean", 1),
        (["--weights", "x.pth"], "--weights applies to inception-2015-12-05", 2),
        (["--metric", "inception"], "'inception' is not one of", 2),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_sentence(
    igan_zoo: Cli,
    npz: Path,
    scorer: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[Any],
    message: str,
    code: int,
) -> None:
    monkeypatch.chdir(npz.parent)
    refused(igan_zoo("score", npz, "--scorer", scorer, *options), message, code)


def test_sources_without_images_are_refused(igan_zoo: Cli, scorer: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(igan_zoo("score", tmp_path / "empty", "--scorer", scorer), "empty")
    (tmp_path / "empty" / "a.png").write_bytes(b"no image")
    (tmp_path / "empty" / "b.png").write_bytes(b"no image")
    result = igan_zoo("score", tmp_path / "empty", "--scorer", scorer, "--splits", 1)
    refused(result, "None of the 2 images")
    np.save(tmp_path / "one.npy", colours(1, 0))
    refused(igan_zoo("score", tmp_path / "one.npy", "--scorer", scorer, "--splits", 1), "needs 2 to")


def test_statistics_that_do_not_belong_together_are_refused(
    igan_zoo: Cli, npz: Path, scorer: Path, model: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "1.safetensors", tmp_path / "2.safetensors"

    def shard(number: int, out: Path, *options: Any) -> None:
        command = ("score", npz, "--scorer", scorer, "--shard", f"{number}/2", "--out", out, "--force")
        assert igan_zoo(*command, *options)[0] == 0

    shard(1, first)
    for options, message in (
        (["--scorer", model], "a different scorer cannot be merged"),
        (["--seed", 3], "a different seed cannot be merged: 2020 in"),
        (["--splits", 5], "a different splits cannot be merged"),
        (["--n", 80], "a different number of images cannot be merged: 90 in"),
    ):
        shard(2, second, *options)
        refused(igan_zoo("merge-scores", first, second), message)
    refused(igan_zoo("merge-scores", first), "Shard 2/2 of")
    refused(
        igan_zoo("score", npz, "--scorer", scorer, "--shard", "1/2", "--out", second),
        "already exists with other contents",
    )
    refused(igan_zoo("merge-scores", npz), "is not a statistics file")
    refused(igan_zoo("merge-scores"), "Missing argument", 2)
    assert igan_zoo("score", npz, "--scorer", scorer, "--shard", "1/2", "--out", first)[0] == 0


def test_a_reference_scored_with_another_network_is_refused_before_anything_is_scored(
    igan_zoo: Cli, npz: Path, scorer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = tmp_path / "real.safetensors"
    assert igan_zoo("score", npz, "--scorer", scorer, "--save-statistics", saved)[0] == 0
    other = tmp_path / "other.onnx"
    other.write_bytes(scorer_graph(["N", "Height", "W", 3]))
    monkeypatch.setattr("igan_zoo.serving.scoring.gathering.gather_statistics", lambda *_, **__: pytest.fail("scored"))
    result = igan_zoo("score", npz, "--scorer", other, "--metric", "fid", "--reference", saved)
    refused(result, "was scored with another scorer_sha256")
    result = igan_zoo("merge-scores", saved, "--metric", "kid", "--reference", saved, "--subset-size", 5)
    refused(result, "keeps no features, which kid needs")


def test_features_that_are_no_numbers_are_refused(igan_zoo: Cli, npz: Path, tmp_path: Path) -> None:
    graph = onnx.load_from_string(scorer_graph(["N", "H", "W", 3]))
    graph.graph.node[2].op_type = "Log"
    del graph.graph.node[2].input[1]
    (tmp_path / "log.onnx").write_bytes(graph.SerializeToString())
    images = colours(30, 1)
    images[4] = 0
    np.save(tmp_path / "dark.npy", images)
    result = igan_zoo("score", tmp_path / "dark.npy", "--scorer", tmp_path / "log.onnx")
    refused(result, "gave logits that are not finite for image 4")


def test_a_file_is_not_taken_for_the_network_of_2015(tmp_path: Path, exported_model: Path) -> None:
    graph = onnx.load_from_string(scorer_graph(["N", "H", "W", 3]))
    graph.metadata_props.add(key=SCORER_KEY, value="inception-2015-12-05")
    (tmp_path / "forged.onnx").write_bytes(graph.SerializeToString())
    with pytest.raises(InterfaceError, match="its weights are not the published ones"):
        open_network(str(tmp_path / "forged.onnx"))
    (tmp_path / "inception-2015-12-05.onnx").write_bytes(scorer_graph(["N", "H", "W", 3]))
    assert open_network(str(tmp_path / "inception-2015-12-05.onnx")).name.startswith("inception-2015-12-05-")
    with pytest.raises(InterfaceError, match="neither a scorer nor a classifier"):
        open_network(str(exported_model / "onnx" / "generator.onnx"))
    classifier = open_network(str(exported_model / "onnx" / "classifier.onnx"))
    assert (classifier.name[:11], classifier.features) == ("classifier-", 0)


BLOCKED = "import sys; sys.modules.update(dict.fromkeys(('torch', 'onnx', 'datasets')));from igan_zoo.cli import main;"


def without_torch(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", f"{BLOCKED}main(sys.argv[1:])", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_scoring_needs_no_pytorch(npz: Path, scorer: Path) -> None:
    result = without_torch("score", npz, "--scorer", scorer, "--metric", "is", "--metric", "fid", "--reference", npz)
    assert result.returncode == 0, result.stderr
    assert "classifier score (toy-" in result.stdout


def test_stored_images_are_counted_before_work(igan_zoo: Cli, folder: Path, scorer: Path) -> None:
    """Both sides, on stderr, with what they pass over; the numbers on stdout stay alone."""
    (folder / "raw.nef").write_bytes(b"raw")
    code, out, errors = igan_zoo("score", folder, folder, "--scorer", scorer, "--metric", "fid", "--format", "json")
    assert code == 0, errors
    assert json.loads(out)
    assert errors.count(f"{folder}: 40 images (PNG 38, unknown 2)\n") == 2
    assert errors.count("Passed over: 1 .nef image in an unsupported format (raw.nef)\n") == 2
    assert f"{folder}: 40 images" in igan_zoo("rank", folder, "--scorer", scorer, "--out", folder.parent / "sheet")[2]
