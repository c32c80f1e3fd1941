"""The public functions of the package; ``docs/api.md`` shows them in use, and the commands call them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from igan_zoo.errors import DataError, OutputError, missing_extra
from igan_zoo.machine.progress import showing_progress

if TYPE_CHECKING:
    from igan_zoo.export.feature_files import ExportedClassifier
    from igan_zoo.hub.listing import ListedModel
    from igan_zoo.hub.pulling import PulledModel
    from igan_zoo.images.given import GivenImages
    from igan_zoo.images.labeled import LabeledImages
    from igan_zoo.images.pixels import ImageArray
    from igan_zoo.models.directory import ModelDirectory
    from igan_zoo.models.export_options import ExportOptions
    from igan_zoo.models.spec import Variant
    from igan_zoo.serving.engine import Device, Precision
    from igan_zoo.serving.model import LoadedModel as Model
    from igan_zoo.serving.model import Role
    from igan_zoo.serving.scoring.numbers import Metric
    from igan_zoo.serving.scoring.scores import ScoreOptions, Scores
    from igan_zoo.training.features.runs import FeatureRun
    from igan_zoo.training.recipes.requests import TrainOptions
    from igan_zoo.training.runs.directory import Run, RunFacts


def load(
    model: str | PathLike[str] | None = None,
    *,
    roles: Sequence[Role] | None = None,
    device: Device = "cpu",
    variant: Variant | None = None,
    threads: int | None = None,
    precision: Precision = "fp32",
) -> Model:
    """Loads a model to run it.

    Args:
        model: a name such as ``"mnist-ssl"``, a model directory, or an ``.onnx`` file. None is the model that was
            pulled last, or else the bundled ``mnist-ssl``.
        roles: which graphs to load, of ``"generator"`` and ``"classifier"``. None means all that the model has.
        device: ``"cpu"`` or ``"cuda"``.
        variant: a smaller or faster form, such as ``"fp16"``. A graph that has no such form is loaded plain, if another
            has it.
        threads: number of cores to use. None means all that this process may use.
        precision: ``"bf16"`` is faster and less exact. It needs the extra ``[openvino]`` and a processor that
            supports bfloat16.

    Raises:
        UnknownNameError: there is no model of that name; the message names the most similar one.
        ModelDirectoryError: the model is not on this machine, or has no such graph or variant.
        ChecksumError: a file was changed.
        InterfaceError: a file is not the expected graph.
        DeviceError: the device is not available.
        MissingExtraError: onnxruntime is not installed.
    """
    from igan_zoo.models import store
    from igan_zoo.serving.model import load_model

    chosen = store.resolve(None if model is None else fspath(model))
    return load_model(chosen, roles, device=device, variant=variant, threads=threads, precision=precision)


def pull(
    name: str,
    *,
    source: str | PathLike[str] | None = None,
    to: str | PathLike[str] | None = None,
    variant: Variant | None = None,
    token: str | None = None,
    progress: bool = False,
) -> PulledModel:
    """Gets a model, checks every byte, and makes it the default.

    Args:
        name: a name of the catalogue, or ``"org/name"`` or ``"org/name@revision"`` on the Hugging Face Hub.
        source: a model directory, or a directory of them, to take it from. None asks the mirror that
            ``IGAN_ZOO_MIRROR`` names, the cache, the Hub and the installation, in this order.
        to: where to copy it. None is the cache.
        variant: downloads only the files that this variant needs.
        token: for the Hub. None is ``HF_TOKEN``, or what ``hf auth login`` stored.
        progress: shows a progress bar.

    Raises:
        UnknownNameError: the model was not found anywhere; the message names the most similar name.
        ModelDirectoryError: ``source`` does not hold it, or it has no such variant.
        ChecksumError: its checksum does not match. Nothing is copied.
        HubError: the Hub cannot provide it.
        OutputError: it cannot be written to ``to``.
    """
    from igan_zoo.hub import pulling

    with showing_progress(progress):
        places = [None if place is None else Path(place) for place in (source, to)]
        return pulling.pull(name, source=places[0], to=places[1], variant=variant, token=token)


def list_models(*patterns: str, remote: bool = False, token: str | None = None) -> list[ListedModel]:
    """Returns the known models by name, and where each one is.

    Args:
        patterns: such as ``"mnist-*"``; a name must match one of them, with or without its organization.
        remote: also asks the Hugging Face Hub. If it does not answer, a warning is logged.
        token: for the Hub.

    Raises:
        ModelDirectoryError: ``IGAN_ZOO_MIRROR`` names something that is not a directory.
    """
    from igan_zoo.hub import listing

    return listing.list_known(patterns, remote=remote, token=token)


def score(
    images: GivenImages | Model,
    reference: GivenImages | Model | None = None,
    *,
    metrics: Sequence[Metric] | Literal["all"] = (),
    scorer: str | PathLike[str] | None = None,
    count: int | None = None,
    device: Device = "cpu",
    threads: int | None = None,
    progress: bool = False,
    options: ScoreOptions | None = None,
) -> Scores:
    """Scores images, alone or compared with a reference.

    Repeat an interrupted call to continue where it stopped. Images that were scored before are not scored again.

    Args:
        images: a folder, a ``.npz``, ``.npy``, ``.tar`` or ``.parquet`` file, a Hub id, or a model, by name or loaded,
            whose samples are scored as they are drawn; or an array uint8 ``[N, H, W, C]`` with C = 1 or 3, or an
            iterable of such images, of Pillow images, and of the bytes or paths of files.
        reference: what to compare with: the same, or a file of statistics.
        metrics: such as ``"is"``, ``"fid"``, ``"kid"``, ``"pr"`` and ``"dc"``, or ``"all"`` possible ones. None means
            FID with a reference, and the Inception score without.
        scorer: the network: a model's name or directory, or an ``.onnx`` file. None is the Inception of 2015-12-05,
            which is downloaded once.
        count: number of images, chosen by the seed. None means all, or 50,000 for a model.
        device: ``"cpu"`` or ``"cuda"``.
        threads: threads for operators and for decoding. None means one per core.
        progress: shows progress bars.
        options: everything else.

    Raises:
        DataError: the images are missing or damaged, or there are fewer than ``count``.
        ScoringError: a metric cannot be computed for these images, or the two sides are not comparable.
        UnknownNameError: there is no such model or data set.
        DownloadError: the Inception network is not on this machine and cannot be downloaded.
        OutputError: ``options.statistics`` exists and may not be replaced.

    Returns:
        The scores; none for a shard, or for a rank that was not the last to finish.
    """
    from igan_zoo.scoring import score_given
    from igan_zoo.serving.scoring.scores import ScoreOptions

    options = options or ScoreOptions()
    kept = options.statistics
    if kept is not None and options.exports_gaussian and kept.exists() and not options.replace:
        raise OutputError(f"{kept} already exists; choose another file, or add --force to replace it.")
    chosen = metrics or (("is",) if reference is None else ("fid",))
    named = None if scorer is None else fspath(scorer)
    with showing_progress(progress):
        return score_given(images, reference, chosen, named, count, device, threads, options)


def train(
    recipe: str | PathLike[str],
    data: str | PathLike[str] | None = None,
    *,
    labels: str | int | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    out: str | PathLike[str] | None = None,
    resume: bool = False,
    device: Device = "cpu",
    progress: bool = False,
    options: TrainOptions | None = None,
) -> Run | FeatureRun:
    """Trains an experiment of the paper, or the same method on your own photos with the recipe ``"custom"``.

    The recipe ``"custom"`` learns from the features of a frozen network in minutes, or from pixels with
    ``TrainOptions(features="none")``. A run on features has ``result()`` instead of ``log()``.

    Args:
        recipe: a name from ``igan-zoo recipes``, or the ``recipe.json`` of a run to repeat.
        data: a folder of images, shards, or a Hub id. None is the recipe's own data set.
        labels: how many images are labeled, such as 100, ``"25-per-class"`` or ``"all"``, or a CSV file of labels.
        seed: 0 to 2**32 - 1, for weights, noise, shuffling and the choice of labeled images.
        settings: changes of the recipe's settings, such as ``{"epochs": 10}``.
        out: the run directory. None is ``runs/RECIPE-LABELS-seedSEED``.
        resume: continues the run in that directory, bit-identically, if there is one.
        device: ``"cpu"`` or ``"cuda"``.
        progress: shows a progress bar.
        options: everything else.

    Returns:
        The finished run; of an ensemble on pixels, the folder of its runs.

    Raises:
        UnknownNameError, SpecificationError: there is no such recipe, or a setting is invalid.
        DataError: the images or labels are missing, or not what the recipe needs.
        TrainingError: a run exists and ``resume`` is false, or it was made with other settings.
        DeviceError: the device is not available.
        MissingExtraError: the train extra, or the package with the frozen network, is not installed.
    """
    from igan_zoo.training.recipes.requests import TrainOptions, learns_from_features, resolve_request
    from igan_zoo.training.runs.directory import Run

    options = options or TrainOptions()
    name, source = fspath(recipe), None if data is None else fspath(data)
    place = None if out is None else Path(out)
    if learns_from_features(name, options.features):
        from igan_zoo.feature_training import resolve_feature_request, start_on_features

        asked = resolve_feature_request(
            source, labels=labels, seed=seed, settings=settings, out=place, device=device, options=options
        )
        with showing_progress(progress):
            return start_on_features(asked, resume=resume)
    request = resolve_request(
        name, source, labels=labels, seed=seed, settings=settings, out=place, ensemble=options.ensemble
    )
    try:
        from igan_zoo.training.start import start
    except ImportError as error:
        raise missing_extra(error, "train") from error
    with showing_progress(progress):
        start(request, options, resume=resume, device=device)
    return Run(request.path)


def export(
    run: Run | FeatureRun | str | PathLike[str],
    out: str | PathLike[str],
    *,
    data: str | PathLike[str] | None = None,
    split: str | None = None,
    labels_file: str | PathLike[str] | None = None,
    variants: Sequence[Variant] = (),
    name: str | None = None,
    replace: bool = False,
    progress: bool = False,
    options: ExportOptions | None = None,
) -> ModelDirectory | ExportedClassifier:
    """Turns a finished training run into a model directory of ONNX files, compared with PyTorch.

    A run on features becomes one file ``out``, ending in ``.onnx``, that includes the frozen network; ``variants`` may
    be ``("int8",)``, with ``data``, and the other arguments apply to runs on pixels. In either case, the result has a
    ``path`` for :func:`load`.

    Args:
        run: a run, its directory, or the folder of an ensemble, whose members become one classifier.
        out: the model directory.
        data: labeled images that influenced no choice; the errors on them go on the model card.
        split: the part of ``data`` to test on. None is ``test``, or all of a folder that has no splits.
        labels_file: a CSV file of the labels of these images.
        variants: other forms to write: ``"fp16"``, ``"affine"``, or ``"int8"``, which is calibrated on the split
            ``train`` of ``data``.
        name: the model's name. None is that of the folder ``out``.
        replace: ``out`` may replace a model directory.
        progress: shows progress bars.
        options: everything else.

    Raises:
        TrainingError: a run is not finished, or has nothing to export.
        DataError: the images have classes that the run does not know, or are missing.
        ParityError: a graph does not compute what PyTorch computes.
        OutputError: ``out`` exists, without ``replace``, or cannot be written.
        MissingExtraError: the train extra is not installed.
    """
    try:
        from igan_zoo.export.exporter import export_run, find_members
    except ImportError as error:
        raise missing_extra(error, "train") from error

    path = Path(run) if isinstance(run, str | PathLike) else run.path
    if (path / "features.json").is_file():
        if any((split, labels_file, name, options, set(variants) - {"int8"})) or (data is None) == ("int8" in variants):
            raise DataError(f"{path} is a run on features, which becomes one file: give int8 and data, or neither.")
        return _export_features(path, Path(out), data, replace=replace, progress=progress)
    if "int8" in variants and data is None:
        raise DataError("The variant int8 is calibrated on training images: name them with data.")
    with showing_progress(progress):
        test, training = None, None
        if data is not None:
            facts = find_members(path)[0].facts()
            labels = None if labels_file is None else Path(labels_file)
            seen = "int8" in variants or (options is not None and options.generator_run is not None)
            test, training = _images_for_export(facts, fspath(data), split, labels, training=seen)
        return export_run(
            path,
            Path(out),
            test=test,
            split=split or "test",
            name=name,
            variants=variants,
            training_images=training,
            overwrite=replace,
            options=options,
        )


def _export_features(
    path: Path, out: Path, data: str | PathLike[str] | None, *, replace: bool, progress: bool
) -> ExportedClassifier:
    from igan_zoo.export.feature_files import export_on_features
    from igan_zoo.images.sources import open_source
    from igan_zoo.training.features.runs import FeatureRun

    with showing_progress(progress):
        photos = None if data is None else open_source(fspath(data), split="train")
        return export_on_features(FeatureRun(path), out, photos=photos, replace=replace)


def _images_for_export(
    facts: RunFacts, data: str, split: str | None, labels_file: Path | None, *, training: bool
) -> tuple[LabeledImages, ImageArray | None]:
    """Returns the images to test on, and the training images if needed."""
    from igan_zoo.images.sources import is_undivided
    from igan_zoo.serving.evaluating import split_to_test
    from igan_zoo.training.data.training_set import load_for_recipe

    if training and labels_file is None and is_undivided(data):
        raise DataError(f"This looks at the images of the split train of {data}, which has no splits.")
    part = split_to_test(data, split, labels_file, facts.data)
    test = load_for_recipe(facts.recipe, data, part, labels_file=labels_file, labeled_only=True)
    return test, load_for_recipe(facts.recipe, data, "train").images if training else None
