"""What goes wrong with requests, beside the errors of the whole package; ``middleware/answers.py`` has their status."""

from __future__ import annotations

from igan_zoo.errors import IganZooError


class UploadError(IganZooError):
    """A request's body that is not the images, or not the whole archive or form, that it should be."""


class UploadSizeError(UploadError):
    """A request with more than is taken."""


class AnswerError(IganZooError):
    """An answer of a Turing test that comes twice, or before its turn."""


class ProtocolError(IganZooError):
    """A request that is not what the server's protocols say."""


class NotReadyError(IganZooError):
    """A model that is not loaded, or a server that is starting or stopping."""


class QueueFullError(IganZooError):
    """More requests than the server keeps waiting."""


class DeadlineError(IganZooError):
    """A request that was not answered in the time it had."""


class BodyTooLargeError(IganZooError):
    """A request with more bytes than the server takes, as sent or decompressed."""


class SlowBodyError(IganZooError):
    """A request whose bytes did not all come in time."""


class TokenError(IganZooError):
    """A request without the token that its route wants."""


class StorageError(IganZooError):
    """A server's disk that has no room for what a request needs."""


class UnsupportedError(IganZooError):
    """A request for a part of a protocol that this server does not have."""


class RefusedError(IganZooError):
    """A request for something that this server was not started to do."""
