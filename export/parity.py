"""The parity report: what every ONNX file computes in the engine, compared with what its torch module computes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from igan_zoo.errors import (
    InterfaceError,
    ParityBatchError,
    ParityError,
    ParityNamesError,
    ParityShapeError,
    ParityToleranceError,
)
from igan_zoo.export.freeze import ImageGenerator
from igan_zoo.export.graphs.building import IR_VERSION, OPSET, interface, with_levels
from igan_zoo.images.labeled import LabeledImages
from igan_zoo.machine.progress import Progress
from igan_zoo.machine.versions import installed_versions
from igan_zoo.models.interface import INPUTS, OUTPUTS
from igan_zoo.models.parity import Agreement, Differences, FileParity, ParityReport, WrongAnswers
from igan_zoo.serving.engine import Engine

BATCHES = (1, 2, 7, 64)

# The largest absolute difference allowed, by output. Images are grey levels after rounding: a level that lies within
# float32 rounding of a half may go either way, but at most 0.05 % of them. Pixels are what is rounded, in the units of
# the network's output.
TOLERANCES = {"images": 1.0, "pixels": 1e-4, "logits": 1e-4, "probabilities": 1e-5, "realness": 1e-5}
DIFFERING_PIXELS = 5e-4
# Of the classes that both give to real test images: two logits that tie within rounding may go either way.
ARGMAX_AGREEMENT = 0.9995

_TEST_BATCH = 500


@dataclass(frozen=True)
class Subject:
    """A file under test: its path in the model directory, its role and bytes, and what it must compute.

    ``module`` is in evaluation mode with nothing folded; ``inputs`` are ``[64, ...]``.
    """

    file: str
    role: str
    content: bytes
    module: nn.Module
    inputs: NDArray[Any]


@dataclass(frozen=True, eq=False)
class TestImages:
    """Real labeled images that influenced no choice, and where they come from.

    A module classifies them once: all forms of its graph are compared with the same outputs.
    """

    __test__ = False

    dataset: str
    split: str
    data: LabeledImages
    _answers: dict[nn.Module, NDArray[np.int64]] = field(default_factory=dict, init=False, repr=False)

    def classes_in_torch(self, module: nn.Module) -> NDArray[np.int64]:
        """Returns the class that a classifier's module gives to every image, ``[N]``."""
        if module not in self._answers:
            found = []
            with Progress("testing PyTorch", len(self.data), unit="images") as bar:
                for chosen in self.batches():
                    found.append(_expected(module, self.data.images[chosen])[0].argmax(axis=1))
                    bar.advance(len(chosen))
            self._answers[module] = np.concatenate(found)
        return self._answers[module]

    def batches(self) -> Iterator[NDArray[np.int64]]:
        """Yields the indices of all images, a few hundred at a time."""
        for start in range(0, len(self.data), _TEST_BATCH):
            yield np.arange(start, min(start + _TEST_BATCH, len(self.data)))


def parity_report(subjects: Sequence[Subject], test: TestImages | None = None) -> ParityReport:
    """Runs every subject at batches of 1, 2, 7 and 64 in torch and in the engine, and returns the differences.

    Classifiers also answer the ``test`` images, in both.

    Raises:
        ParityNamesError: an input or output is not the role's.
        ParityShapeError: an output has another shape than in torch.
        ParityBatchError: a batch size does not run.
        ParityToleranceError: a difference is larger than allowed.
    """
    for subject in subjects:
        _check_interface(subject)
    engines = [Engine({subject.role: subject.content}) for subject in subjects]
    return ParityReport(
        opset=OPSET,
        ir_version=IR_VERSION,
        provider=engines[0].provider,
        versions=versions(),
        tolerances={**TOLERANCES, "differing_pixels": DIFFERING_PIXELS, "argmax_agreement": ARGMAX_AGREEMENT},
        files={
            subject.file: _file_report(engine, subject, test) for engine, subject in zip(engines, subjects, strict=True)
        },
    )


def versions() -> dict[str, str]:
    """Returns the versions of the packages that a comparison depends on."""
    return installed_versions(("torch", "onnx", "onnxruntime", "numpy"))


def _file_report(engine: Engine, subject: Subject, test: TestImages | None) -> FileParity:
    batches = {str(size): _compare(engine, subject, size) for size in BATCHES}
    if isinstance(subject.module, ImageGenerator):
        levels = _Levels(subject)
        for size, measured in batches.items():
            measured["pixels"] = levels.compare(int(size))
    return FileParity(
        sha256=hashlib.sha256(subject.content).hexdigest(),
        batches=batches,
        test=_test(subject, test) if test is not None and subject.role == "classifier" else None,
    )


def _check_interface(subject: Subject) -> None:
    """Checks names and the batch dimension on the graph itself, for clearer errors than a runtime gives."""
    inputs, outputs = interface(subject.content)
    for side, actual, expected in (
        ("inputs", inputs, list(INPUTS[subject.role])),
        ("outputs", outputs, list(OUTPUTS[subject.role])),
    ):
        if list(actual) != expected:
            raise ParityNamesError(
                f"{subject.file} has the {side} {', '.join(actual)}; a {subject.role} has {', '.join(expected)}."
            )
        for name, shape in actual.items():
            if not shape or isinstance(shape[0], int):
                raise ParityBatchError(f"{subject.file} has a fixed batch: its {name} has the shape {shape}.")


def _compare(engine: Engine, subject: Subject, size: int) -> dict[str, Differences]:
    return {
        name: _limited(f"{subject.file}: {name} at batch {size}", name, difference(name, expected, actual))
        for name, (expected, actual) in outputs_of_both(engine, subject, size).items()
    }


def outputs_of_both(engine: Engine, subject: Subject, size: int) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    """Runs a batch of ``size`` inputs and returns, by output, what torch and the engine give.

    Raises:
        ParityBatchError: the engine does not run it.
        ParityNamesError: the numbers of outputs differ.
        ParityShapeError: an output has another shape than in torch.
    """
    inputs = subject.inputs[:size]
    expected = _expected(subject.module, inputs)
    try:
        actual = engine.run(subject.role, {engine.graphs[subject.role].input_name: inputs})
    except InterfaceError as error:
        raise ParityBatchError(f"{subject.file} does not run a batch of {size}: {error}") from error
    if len(expected) != len(actual):
        raise ParityNamesError(f"{subject.file} has {len(actual)} outputs, its module {len(expected)}.")
    both = {name: (reference, actual[name]) for name, reference in zip(actual, expected, strict=True)}
    for name, (reference, result) in both.items():
        if reference.shape != result.shape:
            raise ParityShapeError(
                f"{subject.file}: {name} at batch {size} have the shape {result.shape}, in torch {reference.shape}."
            )
    return both


@torch.no_grad()
def _expected(module: nn.Module, inputs: NDArray[Any]) -> list[NDArray[Any]]:
    outputs = module(torch.from_numpy(inputs))
    return [output.numpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]


def difference(name: str, expected: NDArray[Any], actual: NDArray[Any]) -> Differences:
    """Returns the largest and the mean absolute difference, and of images the share of pixels that differ."""
    apart = np.abs(expected.astype(np.float64) - actual.astype(np.float64))
    measured = {"max": float(apart.max()), "mean": float(apart.mean())}
    if name == "images":
        measured["differing_pixels"] = float((apart > 0).mean())
    return measured


def _limited(where: str, name: str, measured: Differences) -> Differences:
    if not measured["max"] <= TOLERANCES[name]:
        raise ParityToleranceError(
            f"{where} differ from torch by {measured['max']:.2g}, more than {TOLERANCES[name]:.2g}."
        )
    if name == "images" and measured["differing_pixels"] > DIFFERING_PIXELS:
        raise ParityToleranceError(f"{where} differ from torch in {measured['differing_pixels']:.2%} of the pixels.")
    return measured


class _Levels:
    """A generator's gray levels before rounding, which the file itself does not output."""

    def __init__(self, subject: Subject) -> None:
        import onnxruntime

        assert isinstance(subject.module, ImageGenerator)  # noqa: S101 - for the type checker
        self.file, self.module, self.inputs = subject.file, subject.module, subject.inputs
        self.session = onnxruntime.InferenceSession(with_levels(subject.content), providers=["CPUExecutionProvider"])

    def compare(self, size: int) -> Differences:
        """Returns the differences at a batch of ``size``, in the units of the network's output."""
        inputs = self.inputs[:size]
        (actual,) = self.session.run(["levels"], {"latent": inputs})
        with torch.no_grad():
            expected: Tensor = self.module.pixels(torch.from_numpy(inputs))
        scale = self.module.scale
        measured = difference("pixels", expected.numpy() / scale, actual / scale)
        return _limited(f"{self.file}: pixels at batch {size}", "pixels", measured)


def compare_on_test_images(subject: Subject, test: TestImages) -> Agreement:
    """Returns how many test images a classifier and its module get wrong, and the share on which they agree."""
    expected, labels, count = test.classes_in_torch(subject.module), test.data.labels, len(test.data)
    engine = Engine({subject.role: subject.content})
    found = []
    with Progress(f"testing {subject.file}", count, unit="images") as bar:
        for chosen in test.batches():
            found.append(engine.run(subject.role, {"images": test.data.images[chosen]})["logits"].argmax(axis=1))
            bar.advance(len(chosen))
    actual = np.concatenate(found)
    wrong = WrongAnswers(torch=int((expected != labels).sum()), onnxruntime=int((actual != labels).sum()))
    return Agreement(
        dataset=test.dataset,
        split=test.split,
        images=count,
        argmax_agreement=int((expected == actual).sum()) / count,
        wrong=wrong,
    )


def _test(subject: Subject, test: TestImages) -> Agreement:
    measured = compare_on_test_images(subject, test)
    if measured.argmax_agreement < ARGMAX_AGREEMENT:
        raise ParityToleranceError(
            f"{subject.file} and torch agree on the class of {measured.argmax_agreement:.2%} of {len(test.data)} "
            f"test images, fewer than {ARGMAX_AGREEMENT:.2%}."
        )
    return measured


def check_same_files(report: ParityReport, subjects: Sequence[Subject]) -> None:
    """Checks that a stored report is about these bytes.

    Raises:
        ParityError: it has no entry for a file, or one of other bytes.
    """
    reports = {**report.files, **report.variants}
    for subject in subjects:
        said = reports.get(subject.file)
        if said is None or said.sha256 != hashlib.sha256(subject.content).hexdigest():
            raise ParityError(f"parity.json is not about this {subject.file}; export the run again.")
