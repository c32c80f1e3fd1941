"""What goes wrong between us and the Hub, as one sentence each, and what is worth another attempt."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, TypeVar

from igan_zoo.errors import HubError, HubUnreachableError, IganZooError, first_line

Result = TypeVar("Result")

# Seconds before the second, third and fourth attempt.
WAITS = (1.0, 2.0, 4.0)
# A server that wants to be left alone for longer is not waited for.
LONGEST_WAIT = 60.0

_BUSY = (408, 429, 500, 502, 503, 504)
_TOKEN = re.compile(r"hf_\w+")
_ELSEWHERE = "name a copy with --from DIR or a mirror with IGAN_ZOO_MIRROR"


def patiently(call: Callable[[], Result], what: str, token: str | None = None, file: str | None = None) -> Result:
    """Calls, and calls again after a pause while the endpoint is busy or the connection breaks.

    Raises:
        IganZooError: one sentence about ``what``, the model that was asked for, and ``file`` of it; without any token.
    """
    for wait in (*WAITS, None):
        try:
            return call()
        except IganZooError:
            raise
        except Exception as error:
            pause = None if wait is None else _pause(_origin(error), wait)
            if pause is None:
                raise refused(error, what, token, file) from error
            time.sleep(pause)
    raise AssertionError("unreachable")


def refused(error: Exception, what: str, token: str | None = None, file: str | None = None) -> IganZooError:
    """Returns the sentence for an error of huggingface_hub or of the system below it."""
    from huggingface_hub import get_token

    secret = token or get_token()
    sentence = _sentence(_origin(error), what, file, secret)
    text = str(sentence).replace(secret, "***") if secret else str(sentence)
    return type(sentence)(_TOKEN.sub("hf_***", text))


def _sentence(error: Exception, what: str, file: str | None, token: str | None) -> IganZooError:
    from huggingface_hub import constants, errors

    endpoint = constants.ENDPOINT
    if isinstance(error, errors.OfflineModeIsEnabled):
        return HubUnreachableError(
            f"HF_HUB_OFFLINE is set, so {what} cannot be fetched, and the cache does not have all of it; unset "
            f"HF_HUB_OFFLINE, or {_ELSEWHERE}."
        )
    if isinstance(error, errors.HfHubHTTPError):
        return _answer(error, what, file, token, endpoint)
    if isinstance(error, errors.HFValidationError):
        return HubError(f"{what} is not a repository and revision: {first_line(error)}")
    if isinstance(error, errors.LocalTokenNotFoundError):
        return HubError("There is no token; log in with: hf auth login, or set HF_TOKEN.")
    if _is_network(error):
        return HubUnreachableError(
            f"Cannot reach {endpoint} for {what} ({first_line(error).rstrip('.')}); check your network connection, "
            f"or {_ELSEWHERE}."
        )
    if isinstance(error, OSError) and error.errno is not None:
        return HubError(
            f"Cannot write the Hub's cache {constants.HF_HUB_CACHE} ({error.strerror}); free some space, or name "
            "another place with HF_HUB_CACHE."
        )
    part = f"{file} of {what}" if file else what
    return HubError(
        f"{part} could not be transferred from or to {endpoint}: {first_line(error).rstrip('.')}; try again."
    )


def _answer(error: Any, what: str, file: str | None, token: str | None, endpoint: str) -> IganZooError:
    from huggingface_hub import errors

    status = error.response.status_code
    said = error.response.headers.get("X-Error-Message") or f"status {status}"
    if isinstance(error, errors.GatedRepoError):
        text = f"{what} is gated: ask for access on its page at {endpoint}, log in with: hf auth login, and pull again."
    elif isinstance(error, errors.RevisionNotFoundError):
        text = f"{what} does not exist: the model exists, but not this revision; see its page at {endpoint}."
    elif isinstance(error, errors.RemoteEntryNotFoundError):
        text = f"{what} is not a complete igan-zoo model: it has no {file}; name another repository or revision."
    elif status == 401 and token and not isinstance(error, errors.RepositoryNotFoundError):
        text = f"{endpoint} rejects the token for {what}; create a new one and log in with: hf auth login."
    elif status == 401:
        text = (
            f"There is no public model {what} at {endpoint}: it does not exist, or it is private and needs a token; "
            "check the name, or log in with: hf auth login."
        )
    elif isinstance(error, errors.RepositoryNotFoundError):
        text = (
            f"There is no model {what} at {endpoint} that this token can access; check the name, or ask its owner for "
            "access."
        )
    elif status == 403:
        text = f"The token may not do this with {what} ({said}); use one with more permissions: hf auth login."
    elif status == 429:
        text = f"{endpoint} answers 429, too many requests, for {what}; wait a few minutes, or log in: hf auth login."
    elif status in _BUSY:
        return HubUnreachableError(
            f"{endpoint} answers {status} to every request for {what}; try again later, or {_ELSEWHERE}."
        )
    else:
        text = f"{endpoint} refuses {what}: {said}; check the request, or try again later."
    return HubError(text)


def _origin(error: Exception) -> Exception:
    """Returns what huggingface_hub wrapped into "not found in the cache either" or "error while uploading"."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    while isinstance(error, LocalEntryNotFoundError | RuntimeError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return error


def _pause(error: Exception, wait: float) -> float | None:
    """Returns the seconds until another attempt, or None if it would not help."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        if error.response.status_code not in _BUSY:
            return None
        asked = error.response.headers.get("Retry-After", "")
        pause = max(wait, float(asked)) if asked.isdigit() else wait
        return pause if pause <= LONGEST_WAIT else None
    # Where nobody listens, nobody will in a few seconds.
    return wait if _is_network(error) and type(error).__name__ != "ConnectError" else None


def _is_network(error: Exception) -> bool:
    """Returns whether an error is of the HTTP library, whose name differs between versions of huggingface_hub."""
    return type(error).__module__.split(".")[0] in ("httpx", "httpx2")
