"""Image data sets on the Hub: their parquet files, fetched into the Hub's cache or read where they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from igan_zoo.errors import DataError, first_line
from igan_zoo.images.splits import files_by_split

# The branch on which the Hub keeps data sets of every format as parquet files, in CONFIGURATION/SPLIT/.
_CONVERTED = "refs/convert/parquet"
_BRANCHES = ("main", _CONVERTED)

Result = TypeVar("Result")


@dataclass(frozen=True)
class HubFile:
    """A file of a data set: of a branch where it is downloaded, of the branch's commit where it is read by ranges."""

    repository: str
    revision: str
    commit: str
    name: str
    size: int
    sum: str

    def __str__(self) -> str:
        return f"{self.name} of {self.repository}"

    def open(self) -> IO[bytes]:
        """Opens the file where it is."""
        from huggingface_hub import HfFileSystem, constants

        path = f"datasets/{self.repository}@{self.commit}/{self.name}"
        # What is read is asked for by the parquet reader, column by column: more would never be looked at.
        file: IO[bytes] = HfFileSystem(endpoint=constants.ENDPOINT).open(path, cache_type="none")
        return file

    def fetch(self) -> Path:
        """Returns the file's place in the Hub's cache, to which it is downloaded once."""
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(self.repository, self.name, repo_type="dataset", revision=self.revision))


def hub_files(
    name: str, configuration: str, split: str | None, *, stream: bool
) -> tuple[Sequence[Path | HubFile], Sequence[Path | HubFile]]:
    """Returns the parquet files of a split of a data set, and those of its other splits.

    The files of the split are fetched unless ``stream`` is true. Data sets in other formats have parquet files that
    the Hub made of them. Without a network the cache is all there is.

    Raises:
        DataError: there is no such data set, configuration or split, it has no parquet files, or it can neither be
            reached nor is it cached.
    """
    from huggingface_hub.errors import HfHubHTTPError

    reference = f"{name}:{configuration}" if configuration else name
    found: dict[str, HubFile] = {}
    for revision in _BRANCHES:
        try:
            found = {file.name: file for file in _listed(name, revision) if _in_folder(file.name, configuration)}
        except Exception as error:
            # The HTTP library has errors of its own, and so has whatever lies below it.
            status = error.response.status_code if isinstance(error, HfHubHTTPError) else 0
            if status == 404 and revision == _CONVERTED:
                continue
            if status in (401, 403, 404):
                raise _unreachable(reference, error) from error
            return _cached(name, configuration, split, error)
        if found:
            break
    if not found:
        raise DataError(f"{reference} has no parquet files on the Hub; download it and give its folder of images.")
    chosen, others = files_by_split(reference, sorted(found), split)
    rest = [found[file] for file in others]
    if stream:
        return [found[file] for file in chosen], rest
    return [_attempt(reference, found[file].fetch) for file in chosen], rest


def _listed(name: str, revision: str) -> list[HubFile]:
    from huggingface_hub import HfApi

    info: Any = HfApi().dataset_info(name, revision=revision, files_metadata=True)
    return [
        HubFile(
            name,
            revision,
            info.sha,
            file.rfilename,
            file.size or 0,
            file.lfs.sha256 if file.lfs else file.blob_id or "",
        )
        for file in info.siblings or ()
        if file.rfilename.endswith(".parquet")
    ]


def _cached(name: str, configuration: str, split: str | None, error: Exception) -> tuple[list[Path], list[Path]]:
    """Returns the files that were fetched before; ``error`` is why no others can be had."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    reference = f"{name}:{configuration}" if configuration else name
    for revision in _BRANCHES:
        try:
            root = Path(snapshot_download(name, repo_type="dataset", revision=revision, local_files_only=True))
        except LocalEntryNotFoundError:
            continue
        except Exception as problem:
            raise _unreachable(reference, problem) from problem
        names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.parquet"))
        names = [file for file in names if _in_folder(file, configuration)]
        if names:
            chosen, others = files_by_split(reference, names, split)
            return [root / file for file in chosen], [root / file for file in others]
    raise _unreachable(reference, error) from error


def _in_folder(file: str, folder: str) -> bool:
    return not folder or file.startswith(f"{folder}/")


def _attempt(reference: str, call: Callable[[], Result]) -> Result:
    try:
        return call()
    except Exception as error:
        raise _unreachable(reference, error) from error


def _unreachable(reference: str, error: Exception) -> DataError:
    reason = first_line(error).rstrip(".")
    return DataError(f"Cannot get {reference} from the Hub ({reason}); check name and network, or give a folder.")
