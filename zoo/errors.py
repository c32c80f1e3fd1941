"""Every failure that a user can meet, as a type. The message is one sentence that says what to do next."""

from __future__ import annotations


class IganZooError(Exception):
    """Base of all errors that the command line prints as one sentence, with exit code 1."""


class UnknownNameError(IganZooError):
    """A model, recipe or option that does not exist; the message names the nearest ones."""


class SpecificationError(IganZooError):
    """A ``config.json``, ``recipe.json`` or setting that does not say what it must."""


class ChecksumError(IganZooError):
    """A file whose bytes are not those that its model directory, or this version of igan-zoo, promises."""


class ModelDirectoryError(IganZooError):
    """A model directory that is missing, incomplete or holds what it should not."""


class ImageError(IganZooError):
    """A file that is not an image that can be decoded safely."""


class SmallImageError(ImageError):
    """An image that would have to be enlarged."""


class InterfaceError(IganZooError):
    """An ONNX graph whose inputs or outputs are not those of its role."""


class DeviceError(IganZooError):
    """A device that was asked for and is not really there."""


class DataError(IganZooError):
    """A data set that is missing, or has too little of something."""


class TrainingError(IganZooError):
    """A training run that cannot start or go on."""


class OutOfTimeError(TrainingError):
    """A training run that was given a time, which is over; it has saved its state and can go on."""


class ParityError(IganZooError):
    """An exported graph that does not compute what its PyTorch module computes."""


class ParityNamesError(ParityError):
    """Its inputs or outputs have other names than its role's."""


class ParityShapeError(ParityError):
    """An output has another shape than the module's."""


class ParityToleranceError(ParityError):
    """An output differs from the module's by more than is allowed."""


class ParityBatchError(ParityError):
    """It does not run at every batch size."""


class WeightsError(IganZooError):
    """A file of weights that is missing, damaged, or another network's."""


class OperatorError(IganZooError):
    """An operator that was given what it does not take, or that is not built here."""


class OutputError(IganZooError):
    """A result that cannot be written where it was asked for."""


class ScoringError(IganZooError):
    """Statistics or features from which the score that was asked for cannot be computed."""


class ShardError(IganZooError):
    """Work in shards that cannot begin, or go on, in this place or on these workers."""


class DownloadError(IganZooError):
    """A published file that cannot be fetched."""


class HubError(IganZooError):
    """A model that the Hugging Face Hub, or another endpoint of its kind, does not give or take."""


class HubUnreachableError(HubError):
    """The endpoint does not answer, or may not be asked."""


class PublishingError(IganZooError):
    """A model directory that is not fit to be published."""


class MissingExtraError(IganZooError):
    """A command that needs a package of an extra that is not installed."""


def missing_extra(error: ImportError, extra: str) -> MissingExtraError:
    """Returns what to say when a package of an extra is not installed."""
    return MissingExtraError(f"This needs {error.name or error}, of the {extra} extra: {pip_install(f'{extra},cpu')}.")


def pip_install(extras: str) -> str:
    """Returns the command that adds extras, for a checkout and for a wheel: igan-zoo is on no package index."""
    return f"pip install '.[{extras}]' in a checkout, or 'igan_zoo-VERSION.whl[{extras}]'"


def first_line(error: Exception) -> str:
    """Returns the first line of another library's error as the end of a sentence."""
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return text.rstrip(".") + "."


def printable(text: str) -> str:
    """Returns text with line breaks and other control characters escaped: names of files may hold any."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def one_line(text: str, *, most: int) -> str:
    """Does what ``printable`` does, and leaves out the middle of a long text."""
    shown = printable(text)
    return shown if len(shown) <= most else f"{shown[: most // 2]} [...] {shown[-most // 2 :]}"
