"""From weights to a scorer, with an Inception a sixteenth as wide, and what the comparison with PyTorch sees."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnx.reference
import pytest
import torch
from torch import Tensor, nn

from igan_zoo.errors import ParityError
from igan_zoo.export.scorers.inception import Inception
from igan_zoo.export.scorers.parity import comparison_images, scorer_parity
from igan_zoo.export.scorers.torch_scorers import NETWORKS, TorchScorer
from igan_zoo.machine.files import sha256_of
from igan_zoo.models import store
from igan_zoo.serving.engine import Engine, load_engine
from igan_zoo.serving.scorers.converting import SCORERS, convert, inception_kinds, scorer_name
from igan_zoo.serving.scorers.inception import inception
from igan_zoo.serving.scorers.opening import open_scorer
from igan_zoo.serving.scorers.weights import open_weights
from igan_zoo.serving.scoring.conventions import decoded_bias
from igan_zoo.serving.scoring.protocols import INCEPTION_CLEAN, INCEPTION_SPATIAL
from tests.export.calibrated import calibrate
from tests.serving.scorers.converted import converted
from tests.serving.scorers.graph_def import inception_graph

Cli = Callable[..., tuple[int, str, str]]

NARROW = replace(SCORERS["inception"], network=partial(inception, divisor=16), size=139, features=128)


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCORERS, "inception", NARROW)
    monkeypatch.setitem(NETWORKS, "inception", (partial(Inception, divisor=16), dict))


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict of calibrated random weights, and the same as a TensorFlow graph beside it."""
    folder = tmp_path_factory.mktemp("weights")
    network = calibrate(
        Inception(divisor=16), torch.rand(4, 3, 139, 139, generator=torch.Generator().manual_seed(0)) * 2 - 1
    )
    torch.save(network.state_dict(), folder / "w.pth")
    (folder / "w.pb").write_bytes(inception_graph(network.state_dict()).SerializeToString())
    return folder / "w.pth"


@pytest.fixture(scope="session")
def scorer(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return converted(NARROW, weights, tmp_path_factory.mktemp("scorer"))


def reference(weights: Path) -> TorchScorer:
    network = Inception(divisor=16).eval().requires_grad_(False)
    network.load_state_dict(torch.load(weights, weights_only=True))
    return TorchScorer(network, NARROW.size, NARROW.offset)


def test_the_file_says_what_it_is(scorer: Path, weights: Path) -> None:
    sha256 = sha256_of(weights)
    assert scorer.name == f"inception-custom-{sha256[:8]}.onnx"
    graph = onnx.load(scorer)
    metadata = {prop.key: prop.value for prop in graph.metadata_props}
    bias = decoded_bias(metadata.pop("igan_zoo.logit_bias"))
    np.testing.assert_array_equal(bias, reference(weights).network.fc.bias)
    assert metadata == {
        "igan_zoo.scorer": scorer.stem,
        "igan_zoo.resize": "tf1-bilinear-139",
        "igan_zoo.weights_sha256": sha256,
    }
    (images,) = graph.graph.input
    assert [dim.dim_param or dim.dim_value for dim in images.type.tensor_type.shape.dim] == ["N", "H", "W", 3]
    assert {entry.domain: entry.version for entry in graph.opset_import} == {"": 18}
    assert "BatchNormalization" not in {node.op_type for node in graph.graph.node}
    onnx.checker.check_model(graph, full_check=True)


def test_the_same_weights_give_the_same_bytes(scorer: Path, weights: Path) -> None:
    assert convert(NARROW, open_weights(weights)) == scorer.read_bytes()


def test_the_report_covers_every_batch_and_size(igan_zoo: Cli, scorer: Path, weights: Path, tmp_path: Path) -> None:
    assert igan_zoo("export", "inception", "--weights", weights, "--any-weights", "--out", tmp_path)[0] == 0
    written = tmp_path / scorer.name
    assert written.read_bytes() == scorer.read_bytes()
    report = json.loads(written.with_suffix(".parity.json").read_text())
    assert report["sha256"] == sha256_of(scorer)
    assert report["weights_sha256"] == sha256_of(weights)
    assert report["scorer"] == scorer.stem
    assert report["format"] == 2
    assert {"torch", "onnx", "onnxruntime"} <= report["versions"].keys()
    assert set(report["images"]) == {f"{batch}x{size}x{size}" for batch in (1, 2, 7) for size in (32, 299, 300)}
    for outputs in report["images"].values():
        # Relative to a tenth of the largest number where that is above 10.
        within = {name: it["max"] <= 3e-4 * max(1, it["largest"] / 10) for name, it in outputs.items()}
        assert within == {"features": True, "logits": True}


@pytest.mark.parametrize(("height", "width"), [(1, 1), (32, 32), (100, 61), (139, 139), (400, 300)])
def test_images_of_every_size_score_as_in_pytorch(scorer: Path, weights: Path, height: int, width: int) -> None:
    """Within 3e-4, above 10 of a tenth of the largest number, and alike alone and among others."""
    images = np.random.default_rng(height).integers(0, 256, (3, height, width, 3), np.uint8)
    engine = load_engine(store.resolve(str(scorer)), ["scorer"])
    outputs = engine.run("scorer", {"images": images})
    for name, expected in zip(("features", "logits"), reference(weights)(torch.from_numpy(images)), strict=True):
        largest = np.abs(expected.numpy()).max()
        assert np.abs(outputs[name] - expected.numpy()).max() <= 3e-4 * max(1, largest / 10)
        alone = engine.run("scorer", {"images": images[1:2]})[name]
        np.testing.assert_allclose(alone, outputs[name][1:2], atol=1e-5)


def test_the_onnx_reference_runtime_agrees(scorer: Path) -> None:
    """An implementation that shares no code with onnxruntime, within 3e-4."""
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 60, 3), np.uint8)
    expected = onnx.reference.ReferenceEvaluator(onnx.load(scorer)).run(None, {"images": images})
    actual = Engine({"scorer": scorer.read_bytes()}).run("scorer", {"images": images})
    for reference_output, output in zip(expected, actual.values(), strict=True):
        np.testing.assert_allclose(output, reference_output, atol=3e-4)


def test_a_tensorflow_graph_gives_the_same_network(scorer: Path, weights: Path, tmp_path: Path) -> None:
    """Node for node and bit for bit, but for the metadata, which names the file."""
    content = weights.with_suffix(".pb").read_bytes()
    with tarfile.open(tmp_path / "inception.tgz", "w:gz") as archive:
        info = tarfile.TarInfo("classify_image_graph_def.pb")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    path = converted(NARROW, tmp_path / "inception.tgz", tmp_path)
    assert path.stem == f"inception-tensorflow-{sha256_of(weights.with_suffix('.pb'))[:8]}"
    assert onnx.load(path).graph == onnx.load(scorer).graph


def count_padding(scorer: TorchScorer) -> None:
    for layer in scorer.modules():
        if isinstance(layer, nn.AvgPool2d):
            layer.count_include_pad = True


def average_at_the_end(scorer: TorchScorer) -> None:
    scorer.network.Mixed_7c.pool = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)


def torchs_epsilon(scorer: TorchScorer) -> None:
    for layer in scorer.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = 1e-5


def other_scale(scorer: TorchScorer) -> None:
    scorer.offset = 127.5


def half_pixel(scorer: TorchScorer) -> None:
    scorer.register_forward_pre_hook(lambda _, given: (resized(given[0], align_corners=False),))


def align_corners(scorer: TorchScorer) -> None:
    scorer.register_forward_pre_hook(lambda _, given: (resized(given[0], align_corners=True),))


def resized(images: Tensor, *, align_corners: bool) -> Tensor:
    """To the network's size, where its own resize changes nothing any more."""
    x = images.permute(0, 3, 1, 2).float()
    x = nn.functional.interpolate(x, (NARROW.size, NARROW.size), mode="bilinear", align_corners=align_corners)
    return x.permute(0, 2, 3, 1)


def bgr(scorer: TorchScorer) -> None:
    scorer.register_forward_pre_hook(lambda _, given: (given[0].flip(3),))


def biased(scorer: TorchScorer) -> None:
    scorer.network.register_forward_hook(lambda network, _, outputs: (outputs[0], outputs[1] + network.fc.bias))


@pytest.mark.parametrize(
    "mistake",
    [count_padding, average_at_the_end, torchs_epsilon, other_scale, half_pixel, align_corners, bgr, biased],
)
def test_the_comparison_sees_every_known_mistake(
    scorer: Path, weights: Path, mistake: Callable[[TorchScorer], None]
) -> None:
    module = reference(weights)
    mistake(module)
    with pytest.raises(ParityError, match="differ from PyTorch by"):
        scorer_parity(scorer.read_bytes(), module, scorer.stem, "0" * 64)


def test_the_images_of_the_comparison_differ_in_grain_and_are_always_the_same() -> None:
    images = comparison_images(7, 300)
    assert images.shape == (7, 300, 300, 3)
    np.testing.assert_array_equal(images, comparison_images(7, 300))
    steps = np.abs(np.diff(images.astype(int), axis=2)).mean(axis=(1, 2, 3)) / images.std(axis=(1, 2, 3))
    assert (np.diff(steps[:5]) < 0).all()


def test_the_command_line_knows_every_scorer() -> None:
    from igan_zoo.commands.export import SCORERS as KNOWN

    assert set(KNOWN) == set(SCORERS)


def test_the_published_sum_alone_gives_the_published_name(weights: Path) -> None:
    file = open_weights(weights)
    assert scorer_name(replace(NARROW, sha256=file.sha256), file) == "inception-2015-12-05"
    assert scorer_name(NARROW, file) == f"inception-custom-{file.sha256[:8]}"
    graph = open_weights(weights.with_suffix(".pb"))
    assert scorer_name(NARROW, graph) == f"inception-tensorflow-{graph.sha256[:8]}"


def test_weights_of_another_sum_are_refused_before_they_are_opened(
    igan_zoo: Cli, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("igan_zoo.serving.scorers.weights.read_state_dict", None)
    code, _, errors = igan_zoo("export", "inception", "--weights", weights, "--out", tmp_path / "out")
    assert code == 1
    assert "--any-weights" in errors
    assert not (tmp_path / "out").exists()


def test_without_pytorch_the_command_says_that_nothing_was_compared(
    igan_zoo: Cli, weights: Path, scorer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report of the file that was there before goes with it."""
    arguments = ("export", "inception", "--weights", weights, "--any-weights", "--force", "--out", tmp_path)
    (tmp_path / f"{scorer.stem}.parity.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "igan_zoo.export.scorers.torch_scorers", None)
    code, output, _ = igan_zoo(*arguments)
    assert code == 0
    assert "not compared with PyTorch, which needs the train extra" in output
    assert [path.name for path in tmp_path.iterdir()] == [scorer.name]


def test_the_command_writes_a_file_of_the_given_name_and_replaces_none(
    igan_zoo: Cli, weights: Path, scorer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("igan_zoo.export.scorers.parity.scorer_parity", lambda *_: {})
    out = tmp_path / "new" / "mine.onnx"
    arguments = ("export", "inception", "--weights", weights, "--any-weights", "--out")
    code, output, errors = igan_zoo(*arguments, out)
    assert (code, output) == (
        0,
        f"{out}: the scorer {scorer.stem}, compared with PyTorch; next to it mine.parity.json\n",
    )
    assert sorted(path.name for path in out.parent.iterdir()) == ["mine.onnx", "mine.parity.json"]
    assert Engine({"scorer": out.read_bytes()}).graphs["scorer"].metadata["igan_zoo.scorer"] == scorer.stem
    code, output, errors = igan_zoo(*arguments, out)
    assert (code, output) == (1, "")
    assert errors == f"Error: {out} already exists; choose another file, or add --force to replace it.\n"
    assert igan_zoo(*arguments, out, "--force")[0] == 0
    assert igan_zoo(*arguments, tmp_path)[0] == 0
    assert (tmp_path / scorer.name).exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["inception"], 2, "inception needs --weights"),
        (["runs/a", "--weights", "w.pth"], 2, "--weights applies to inception or efficientnet-lite0, not to runs/a"),
        (["inception", "--weights", "w.pth", "--data", "mnist"], 2, "a scorer accepts only --variant int8 with --data"),
        (
            ["inception", "--weights", "w.pth", "--variant", "int8"],
            2,
            "a scorer accepts only --variant int8 with --data",
        ),
        (["inception", "--weights", "w.pth", "--name", "x"], 2, "the other options apply to runs"),
        (["runs/a", "--any-weights"], 2, "--any-weights requires --weights"),
        (["inception", "--weights", "nothing.pth"], 1, "There is no file nothing.pth."),
        (
            ["efficientnet-lite0", "--weights", "WEIGHTS.pb"],
            1,
            "is a TensorFlow graph, but efficientnet-lite0 can only be made",
        ),
        (["efficientnet-lite0", "--any-weights", "--weights", "WEIGHTS.pth"], 1, "holds another network's weights"),
        (["inception", "--weights", "WEIGHTS.pth"], 1, "is not the published file"),
        (["inception", "--any-weights", "--weights", "PAGE.pth"], 1, "cannot be loaded as a state dict"),
        (["inception", "--weights", "PAGE.pb"], 1, "is not"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing_behind(
    igan_zoo: Cli, weights: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    for suffix in (".pth", ".pb"):
        (tmp_path / f"page{suffix}").write_text("<!DOCTYPE html><html>Not Found</html>")
    given = [
        argument.replace("WEIGHTS", str(weights.with_suffix(""))).replace("PAGE", str(tmp_path / "page"))
        for argument in arguments
    ]
    result, output, errors = igan_zoo("export", *given, "--out", tmp_path / "out")
    assert (result, output) == (code, "")
    assert message in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_int8_preview_stands_beside_the_scorer_and_says_what_it_is(
    igan_zoo: Cli, weights: Path, scorer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("igan_zoo.export.scorers.parity.scorer_parity", lambda *_: {})
    np.save(tmp_path / "few.npy", np.zeros((191, 4, 4, 3), np.uint8))
    np.save(tmp_path / "images.npy", np.random.default_rng(0).integers(0, 256, (192, 9, 8, 3), np.uint8))
    arguments = ("export", "inception", "--weights", weights, "--any-weights", "--variant", "int8", "--out")
    code, output, errors = igan_zoo(*arguments, tmp_path / "out" / "mine.onnx", "--data", tmp_path / "images.npy")
    assert code == 0, errors
    assert f"mine-int8.onnx: the scorer {scorer.stem}-int8, a preview: on 192 of these images the score is " in output
    preview = load_engine(store.resolve(str(tmp_path / "out" / "mine-int8.onnx")), ["scorer"])
    metadata = preview.graphs["scorer"].metadata
    assert (metadata["igan_zoo.scorer"], metadata["igan_zoo.precision"]) == (f"{scorer.stem}-int8", "int8")
    graph = onnx.load(tmp_path / "out" / "mine-int8.onnx").graph
    assert "DequantizeLinear" in {node.op_type for node in graph.node}
    code, output, errors = igan_zoo(*arguments, tmp_path / "few", "--data", tmp_path / "few.npy")
    assert code == 1
    assert "has 191 images; an int8 scorer is calibrated and measured on at least 192." in errors


def test_spatial_features_are_the_first_maps_of_the_middle(weights: Path, tmp_path: Path) -> None:
    network = reference(weights).network
    images = np.random.default_rng(0).integers(0, 256, (2, 139, 139, 3), np.uint8)
    maps: list[Tensor] = []
    network.Mixed_6d.branch1x1.register_forward_hook(lambda *facts: maps.append(facts[2]))
    reference_of = TorchScorer(network, NARROW.size, NARROW.offset)
    reference_of(torch.from_numpy(images))
    kind = replace(inception_kinds()[INCEPTION_SPATIAL], features=7 * 7 * 7)
    engine = Engine({"scorer": converted(kind, weights, tmp_path).read_bytes()})
    outputs = engine.run("scorer", {"images": images})
    assert outputs["features"].shape == (2, 343)
    np.testing.assert_allclose(outputs["features"], maps[0][:, :7].flatten(1), atol=3e-4)
    assert outputs["logits"].shape == (2, 1008)


def test_the_clean_form_resizes_as_clean_fid(
    igan_zoo: Cli, weights: Path, scorer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = sha256_of(weights)
    monkeypatch.setitem(SCORERS, "inception", replace(NARROW, sha256=sha256))
    monkeypatch.setattr("igan_zoo.serving.scoring.network.INCEPTION_WEIGHTS", sha256)
    clean = open_scorer(INCEPTION_CLEAN, weights)
    assert (clean.name, clean.resize) == (INCEPTION_CLEAN, "clean-bicubic-139")
    plain = Engine({"scorer": scorer.read_bytes()})
    # Images of the network's own size are not resized; those of one color stay it.
    same = np.random.default_rng(0).integers(0, 256, (1, 139, 139, 3), np.uint8)
    for images, equal in ((same, True), (np.full((1, 30, 50, 3), 77, np.uint8), True), (same[:, ::2], False)):
        outputs = plain.run("scorer", {"images": images})
        assert np.allclose(clean.answer(images)[0], outputs["features"], atol=1e-3) == equal
    source = tmp_path / "images.npz"
    np.savez(source, images=np.random.default_rng(1).integers(0, 256, (12, 20, 24, 3), np.uint8))
    code, output, errors = igan_zoo("score", source, source, "--scorer", INCEPTION_CLEAN, "--format", "json")
    assert code == 0, errors
    assert json.loads(output)["protocol"] == f"fd12-{INCEPTION_CLEAN}"
