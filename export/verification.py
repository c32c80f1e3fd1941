"""Whether the ONNX files of a model directory still compute what its training weights do."""

from __future__ import annotations

from dataclasses import replace

from msgspec import structs

from igan_zoo.export.exporter import parity_subjects
from igan_zoo.export.parity import TestImages, check_same_files, parity_report
from igan_zoo.export.variants import VariantGraph, variants_report
from igan_zoo.models.directory import ModelDirectory
from igan_zoo.models.parity import ParityReport, decode_parity
from igan_zoo.models.spec import PARITY, WEIGHTS, graph_file
from igan_zoo.training.weights import load_networks


def verify_parity(directory: ModelDirectory, test: TestImages | None = None) -> ParityReport:
    """Compares every ONNX file with the networks of ``model.safetensors`` and returns the new report.

    Raises:
        ParityError: a file computes something else, or the directory's own report is not about its files.
        ModelDirectoryError: the weights are damaged.
    """
    directory.read(WEIGHTS)  # its sum is checked before it is opened
    networks = load_networks(directory.path / WEIGHTS)
    contents = {name: directory.read(name) for name in directory.spec.files if name.endswith(".onnx")}
    subjects = parity_subjects(networks, contents)
    variants = [
        VariantGraph(variant, replace(subject, file=file, content=contents[file]))
        for subject in subjects
        if subject.file == graph_file(subject.role)
        for variant in directory.spec.variants(subject.role)
        if (file := graph_file(subject.role, variant))
    ]
    said = decode_parity(directory.read(PARITY), directory.path / PARITY)
    check_same_files(said, [*subjects, *(graph.subject for graph in variants)])
    return structs.replace(parity_report(subjects, test), variants=variants_report(variants, test))
