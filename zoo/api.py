"""The public functions of the package; ``docs/api.md`` shows them in use, and the commands call them."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path

from igan_zoo.hub import listing, pulling
from igan_zoo.hub.listing import ListedModel
from igan_zoo.hub.pulling import PulledModel
from igan_zoo.machine.progress import showing_progress
from igan_zoo.models import store
from igan_zoo.models.spec import Variant
from igan_zoo.serving.engine import Device
from igan_zoo.serving.model import LoadedModel as Model
from igan_zoo.serving.model import Role, load_model

__all__ = ["Model", "list_models", "load", "pull"]


def load(
    model: str | PathLike[str] | None = None,
    *,
    roles: Sequence[Role] | None = None,
    device: Device = "cpu",
    variant: Variant | None = None,
    threads: int | None = None,
) -> Model:
    """Loads a model to run it.

    Args:
        model: a name such as ``"mnist-ssl"``, a model directory, or an ``.onnx`` file. None is the model that was
            pulled last, or else the bundled ``mnist-ssl``.
        roles: which graphs to load, of ``"generator"`` and ``"classifier"``. None is all that the model has.
        device: ``"cpu"`` or ``"cuda"``.
        variant: a smaller or faster form, such as ``"fp16"``. A graph that has no such form is loaded plain, if another
            has it.
        threads: threads for one operator. None is one for each core.

    Raises:
        UnknownNameError: there is no model of that name; the message names the nearest.
        ModelDirectoryError: the model is not on this machine, or has no such graph or variant.
        ChecksumError: a file was changed.
        InterfaceError: a file is not the graph that it should be.
        DeviceError: the device is not there.
        MissingExtraError: onnxruntime is not installed.
    """
    chosen = store.resolve(None if model is None else fspath(model))
    return load_model(chosen, roles, device=device, variant=variant, threads=threads)


def pull(
    name: str,
    *,
    source: str | PathLike[str] | None = None,
    to: str | PathLike[str] | None = None,
    variant: Variant | None = None,
    token: str | None = None,
    progress: bool = False,
) -> PulledModel:
    """Gets a model, every byte checked, and makes it the default.

    Args:
        name: a name of the catalogue, or ``"org/name"`` or ``"org/name@revision"`` on the Hugging Face Hub.
        source: a model directory, or a directory of them, to take it from. None asks the mirror that
            ``IGAN_ZOO_MIRROR`` names, the cache, the Hub and the installation, in this order.
        to: where to copy it. None is the cache.
        variant: fetches only what running this form takes.
        token: for the Hub. None is ``HF_TOKEN``, or what ``hf auth login`` stored.
        progress: shows a progress bar.

    Raises:
        UnknownNameError: no place has the model; the message names the nearest.
        ModelDirectoryError: ``source`` does not hold it, or it has no such variant.
        ChecksumError: its bytes are not those promised. Nothing is copied.
        HubError: the Hub does not give it.
        OutputError: it cannot be written to ``to``.
    """
    with showing_progress(progress):
        places = [None if place is None else Path(place) for place in (source, to)]
        return pulling.pull(name, source=places[0], to=places[1], variant=variant, token=token)


def list_models(*patterns: str, remote: bool = False, token: str | None = None) -> list[ListedModel]:
    """Returns the known models by name, and where each one is.

    Args:
        patterns: such as ``"mnist-*"``; a name must match one of them, with or without its organization.
        remote: asks the Hugging Face Hub, too. Where it gives no answer, a warning is logged.
        token: for the Hub.

    Raises:
        ModelDirectoryError: ``IGAN_ZOO_MIRROR`` names something that is not a directory.
    """
    return listing.list_known(patterns, remote=remote, token=token)
