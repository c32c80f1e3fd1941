"""Publishing: a model directory becomes one commit of a repository on the Hub, which is read back and compared."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from igan_zoo.errors import HubError, PublishingError
from igan_zoo.hub.client import Address, client, fetch, parse_address
from igan_zoo.hub.errors import patiently
from igan_zoo.hub.publishable import check_publishable
from igan_zoo.machine.files import sha256_of
from igan_zoo.models.catalogue import BY_NAME, CatalogueEntry
from igan_zoo.models.directory import ModelDirectory
from igan_zoo.models.spec import CONFIG

# The Hub's own, which says which files are large.
_KEPT = ".gitattributes"


@dataclass(frozen=True)
class Plan:
    """What publishing a directory would do to a repository: the files to write, and those to delete."""

    repository: str
    exists: bool
    head: str | None
    written: tuple[str, ...]
    deleted: tuple[str, ...]

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.written or self.deleted)


@dataclass(frozen=True)
class Publication:
    """Where a model now stands: the commit, the address of it or of the pull request, and whether it is new."""

    repository: str
    commit: str
    url: str
    changed: bool
    pull_request: bool


def plan_publication(directory: ModelDirectory, repository: str, *, token: str | None = None) -> Plan:
    """Checks a directory and compares it with what the repository has now; changes nothing.

    Raises:
        PublishingError: the directory is not fit to be published, or ``repository`` is no ``org/name``.
        ChecksumError: a file was changed.
        HubError: the endpoint does not answer, or refuses the token.
    """
    address = parse_address(repository)
    if address is None or address.revision != "main":
        raise PublishingError(f"{repository} is not a repository; give --repo ORG/NAME.")
    check_publishable(directory)
    return patiently(lambda: _compare(directory, repository, token), repository, token)


def publish(
    directory: ModelDirectory,
    repository: str,
    *,
    private: bool = False,
    create_pr: bool = False,
    token: str | None = None,
) -> Publication:
    """Creates the repository where there is none, uploads what differs in one commit, and reads the model back.

    A repository that already holds these very files is left alone.

    Raises:
        PublishingError: the directory is not fit to be published.
        HubError: the repository cannot be made or written.
        ChecksumError: what was read back is not what was sent.
    """
    plan_publication(directory, repository, token=token)
    patiently(lambda: _create(repository, private, token), repository, token)
    publication = patiently(lambda: _commit(directory, repository, create_pr, token), repository, token)
    with tempfile.TemporaryDirectory() as cache:
        pin = sha256_of(directory.path / CONFIG)
        fetch(Address(repository, publication.commit), pin=pin, token=token, cache=Path(cache))
    return publication


def require_token(token: str | None = None) -> None:
    """Checks that there is a token to write with.

    Raises:
        HubError: none was given, set or stored.
    """
    from huggingface_hub import get_token

    if not (token or get_token()):
        raise HubError("Publishing needs a token; log in with: hf auth login, or set HF_TOKEN.")


def catalogue_entry(
    directory: ModelDirectory, repository: str | None = None, commit: str | None = None
) -> CatalogueEntry:
    """Returns the entry for a directory; without a repository, the one that an unchanged model was published in."""
    pin = sha256_of(directory.path / CONFIG)
    old = BY_NAME.get(directory.spec.name)
    if repository is None and old is not None and old.config_sha256 == pin:
        return old
    summary = old.summary if old is not None else directory.spec.summary
    return CatalogueEntry(directory.spec.name, summary, pin, repository, commit)


def published_commit(directory: ModelDirectory, repository: str, *, token: str | None = None) -> str:
    """Returns the commit at the head of a repository, which must hold this very model.

    Raises:
        HubError: the repository does not exist, may not be seen, or cannot be reached.
        PublishingError: it holds another model, or another version of it.
    """
    snapshot = fetch(Address(repository), only_config=True, token=token)
    if sha256_of(snapshot.path / CONFIG) != sha256_of(directory.path / CONFIG):
        raise PublishingError(
            f"{repository} holds a {CONFIG} that differs from {directory.path}; publish it first: igan-zoo publish "
            f"{directory.path} --repo {repository}"
        )
    return snapshot.commit


def _create(repository: str, private: bool, token: str | None) -> None:
    # Without --private, the organization's own setting decides.
    client(token).create_repo(repository, private=private or None, exist_ok=True)


def _compare(directory: ModelDirectory, repository: str, token: str | None) -> Plan:
    from huggingface_hub.errors import RepositoryNotFoundError

    api = client(token)
    files = {name: file.sha256 for name, file in directory.spec.files.items()}
    files[CONFIG] = sha256_of(directory.path / CONFIG)
    try:
        head = api.model_info(repository, revision="main").sha
    except RepositoryNotFoundError:
        return Plan(repository, exists=False, head=None, written=tuple(sorted(files)), deleted=())
    listed = api.list_repo_tree(repository, recursive=True, revision=head)
    there = {file.path: file for file in listed if _is_file(file)}
    written = [
        name
        for name, sha256 in files.items()
        if name not in there or not _same(there[name], sha256, directory.path / name)
    ]
    deleted = [name for name in there if name not in files and name != _KEPT]
    return Plan(repository, exists=True, head=head, written=tuple(sorted(written)), deleted=tuple(sorted(deleted)))


def _is_file(entry: Any) -> bool:
    return hasattr(entry, "blob_id")


def _same(remote: Any, sha256: str, path: Path) -> bool:
    if remote.lfs is not None:
        return bool(remote.lfs.sha256 == sha256)
    content = path.read_bytes()
    blob = hashlib.sha1(b"blob %d\0%b" % (len(content), content), usedforsecurity=False)
    return bool(remote.blob_id == blob.hexdigest())


def _commit(directory: ModelDirectory, repository: str, create_pr: bool, token: str | None) -> Publication:
    """Commits what differs at this moment, so that a second attempt after a lost answer finds nothing left to do."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete
    from huggingface_hub.constants import ENDPOINT

    plan = _compare(directory, repository, token)
    if not plan.exists:
        raise HubError(f"{repository} was created but cannot be found; try again, or see {ENDPOINT}/{repository}.")
    if not plan.changes:
        return Publication(repository, str(plan.head), f"{ENDPOINT}/{repository}", changed=False, pull_request=False)
    operations = [
        *(CommitOperationAdd(name, directory.path / name) for name in plan.written),
        *(CommitOperationDelete(name) for name in plan.deleted),
    ]
    commit = client(token).create_commit(
        repository,
        operations,
        commit_message=f"Publish {directory.spec.name}",
        parent_commit=plan.head,
        create_pr=create_pr,
    )
    return Publication(repository, commit.oid, commit.pr_url or commit.commit_url, changed=True, pull_request=create_pr)
