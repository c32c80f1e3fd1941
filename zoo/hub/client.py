"""Fetching models from the Hugging Face Hub, or any endpoint of its kind, into huggingface_hub's own cache.

HF_TOKEN, HF_ENDPOINT, HF_HOME, HF_HUB_CACHE and HF_HUB_OFFLINE mean what they mean to huggingface_hub.
"""

from __future__ import annotations

import logging
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from igan_zoo.errors import ChecksumError, HubError, HubUnreachableError
from igan_zoo.hub.errors import patiently, refused
from igan_zoo.machine.files import sha256_of
from igan_zoo.machine.progress import Progress, progress_is_wanted
from igan_zoo.models.spec import CONFIG, ModelSpec, Variant, read_spec

_ADDRESS = re.compile(r"(?P<repository>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w][\w./-]*))?")
# What every model card of ours is tagged with, so that the Hub can list them.
TAG = "igan-zoo"
_SECONDS_TO_LIST = 10.0


@dataclass(frozen=True)
class Address:
    """A repository on the Hub and a branch, tag or commit of it."""

    repository: str
    revision: str = "main"

    def __str__(self) -> str:
        return self.repository if self.revision == "main" else f"{self.repository}@{self.revision}"


@dataclass(frozen=True)
class Snapshot:
    """Files of one commit, every one checked: their directory in the cache, the specification, and their names."""

    path: Path
    commit: str
    spec: ModelSpec
    files: tuple[str, ...]


@dataclass(frozen=True)
class RemoteModel:
    """A model that the Hub lists under our tag."""

    repository: str
    revision: str
    downloads: int
    private: bool


def parse_address(text: str) -> Address | None:
    """Returns what ``org/name`` or ``org/name@revision`` names, or None where the text has another form."""
    match = _ADDRESS.fullmatch(text)
    if match is None:
        return None
    return Address(match["repository"], match["revision"] or "main")


def fetch(
    address: Address,
    *,
    pin: str | None = None,
    variant: Variant | None = None,
    only_config: bool = False,
    token: str | None = None,
    cache: Path | None = None,
) -> Snapshot:
    """Downloads the files of a model that the cache does not have, and checks the sha256 of each.

    ``pin`` is the sum that ``config.json`` must have. With ``variant`` only what running it takes is fetched, with
    ``only_config`` nothing but ``config.json``. What is whole in the cache is not asked for again, so a commit that was
    fetched once needs no network.

    Raises:
        HubError: there is no such model, it may not be seen, or the endpoint fails after several attempts.
        HubUnreachableError: nothing answers, or HF_HUB_OFFLINE is set, and the cache does not have it.
        ChecksumError: a file is not what the catalogue or ``config.json`` promises; it is dropped from the cache.
        SpecificationError: its ``config.json`` is not ours.
    """
    config = _download(address, CONFIG, token, cache)
    if pin is not None:
        _check(config, pin, f"the catalogue pins for {address}")
    spec = read_spec(config)
    snapshot = Snapshot(config.parent, config.parent.name, spec, ())
    if only_config:
        return snapshot
    files = spec.files_for(variant) if variant else tuple(spec.files)
    commit = Address(address.repository, snapshot.commit)
    total = sum(spec.files[name].size for name in files)
    # On a terminal huggingface_hub draws a bar for every file.
    with Progress(f"pulling {address}", total, unit="bytes", shown=not sys.stderr.isatty()) as progress:
        for name in files:
            _check(_download(commit, name, token, cache), spec.files[name].sha256, f"{CONFIG} promises")
            progress.advance(spec.files[name].size)
    return Snapshot(config.parent, snapshot.commit, spec, files)


def list_remote(words: str | None = None, *, token: str | None = None) -> list[RemoteModel]:
    """Returns the models with our tag that the endpoint lists, those whose name has ``words`` in it.

    The endpoint is asked once, and not again after a pause: what is on this machine is of use without its answer.

    Raises:
        HubUnreachableError: it does not answer within 10 seconds, or HF_HUB_OFFLINE is set.
        HubError: it refuses.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status  # type: ignore[attr-defined]

    if constants.HF_HUB_OFFLINE:
        raise HubUnreachableError("HF_HUB_OFFLINE is set.")
    asked: dict[str, str] | None = {"filter": TAG, "full": "true", **({"search": words} if words else {})}
    address: str | None = f"{constants.ENDPOINT}/api/models"
    models: list[RemoteModel] = []
    try:
        while address is not None:
            headers = build_hf_headers(token=token, library_name=TAG)
            response = get_session().get(address, params=asked, headers=headers, timeout=_SECONDS_TO_LIST)
            hf_raise_for_status(response)
            models += [
                RemoteModel(
                    found["id"], found.get("sha") or "main", found.get("downloads") or 0, bool(found["private"])
                )
                for found in response.json()
            ]
            # The address of the next page says what was asked.
            address, asked = response.links.get("next", {}).get("url"), None
    except Exception as error:
        raise refused(error, f"the models tagged {TAG}", token) from error
    return models


def client(token: str | None = None) -> Any:
    """Returns huggingface_hub's client, silent about what our errors say, with bars on a terminal only."""
    import huggingface_hub
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

    shown = sys.stderr.isatty() and progress_is_wanted()
    if not shown and huggingface_hub.constants.HF_HUB_DISABLE_PROGRESS_BARS is None:
        disable_progress_bars()
    logger = logging.getLogger("huggingface_hub")
    if logger.level == logging.WARNING:
        logger.setLevel(logging.ERROR)
    return huggingface_hub.HfApi(token=token, library_name=TAG)


def _download(address: Address, name: str, token: str | None, cache: Path | None) -> Path:
    def download() -> Path:
        found = client(token).hf_hub_download(address.repository, name, revision=address.revision, cache_dir=cache)
        return Path(found)

    return patiently(download, str(address), token, name)


def _check(path: Path, expected: str, source: str) -> None:
    """Compares a downloaded file; what differs is dropped from the cache, or it would be found there for ever."""
    actual = sha256_of(path)
    if actual == expected:
        return
    size = path.stat().st_size
    try:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
    except OSError as error:
        raise HubError(f"{path} is damaged and cannot be removed ({error.strerror}); remove it.") from error
    raise ChecksumError(
        f"{path} was deleted: its sha256 is {actual} ({size} bytes), but {source} {expected}; pull again, and if that "
        "does not help, tell its publisher."
    )
