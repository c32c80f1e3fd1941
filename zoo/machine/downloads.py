"""Fetching one published file: over https only, resumed where it broke off, its sum checked before it gets its name."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from pathlib import Path

from igan_zoo.errors import ChecksumError, DownloadError, OutputError
from igan_zoo.machine.files import put_in_place, sha256_of
from igan_zoo.machine.progress import Progress

_SECONDS_OF_SILENCE = 30
_CHUNK = 2**20


def download(url: str, path: Path, *, sha256: str, largest: int) -> None:
    """Fetches ``url`` to ``path``; what an interrupted download has left in ``path.part`` is gone on with.

    Raises:
        DownloadError: it cannot be reached, breaks off, or is larger than ``largest`` bytes.
        ChecksumError: its sha256 is another one; nothing is left behind.
        OutputError: it cannot be written.
    """
    partial = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _fetch(url, partial, largest)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise DownloadError(f"Cannot fetch {url} ({error})") from error
    except OSError as error:
        raise OutputError(f"Cannot write {partial}: {error.strerror}.") from error
    actual = sha256_of(partial)
    if actual != sha256:
        partial.unlink()
        raise ChecksumError(f"{url} is not the published file: its sha256 is {actual}, not {sha256}.")
    put_in_place(partial, path)


def _fetch(url: str, partial: Path, largest: int) -> None:
    start = partial.stat().st_size if partial.is_file() else 0
    if not url.startswith("https://"):
        raise DownloadError(f"Cannot fetch {url} (only https is used)")
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})  # noqa: S310 - https
    try:
        response = urllib.request.urlopen(request, timeout=_SECONDS_OF_SILENCE)  # noqa: S310 - https
    except urllib.error.HTTPError as error:
        with error:
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                # All of it is there already, or something else: the sum will tell.
                return
        raise
    with response:
        start = start if response.status == http.HTTPStatus.PARTIAL_CONTENT else 0
        total = start + int(response.headers.get("Content-Length") or 0)
        with partial.open("ab" if start else "wb") as file, Progress("fetching", total, unit="B", done=start) as bar:
            while chunk := response.read(_CHUNK):
                start += len(chunk)
                if start > largest:
                    raise DownloadError(f"Cannot fetch {url} (it has more than {largest:,} bytes)")
                file.write(chunk)
                bar.advance(len(chunk))
        if start < total:
            raise DownloadError(f"Cannot fetch {url} (it ended after {start:,} of {total:,} bytes)")
