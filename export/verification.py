"""Whether the ONNX files of a model directory still compute what its training weights do."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from igan_zoo.errors import ParityError
from igan_zoo.export.exporter import parity_subjects
from igan_zoo.export.parity import TestImages, check_same_files, parity_report
from igan_zoo.export.trained import load_networks
from igan_zoo.export.variants import VariantGraph, variants_report
from igan_zoo.models.directory import ModelDirectory
from igan_zoo.models.spec import PARITY, WEIGHTS, graph_file


def verify_parity(directory: ModelDirectory, test: TestImages | None = None) -> dict[str, Any]:
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
    try:
        said = json.loads(directory.read(PARITY))
    except (ValueError, RecursionError) as error:
        raise ParityError(f"{directory.path / PARITY} is not JSON: {error}.") from error
    check_same_files(said, [*subjects, *(graph.subject for graph in variants)])
    return {**parity_report(subjects, test), "variants": variants_report(variants, test)}
