"""Writing so that nothing half-written ever stands under its final name, and checksums."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from igan_zoo.errors import OutputError


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path`` to write to, and renames it to ``path`` when the block succeeds.

    Raises:
        OutputError: the place cannot be written, or the disk is full; nothing is left behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
    except OSError as error:
        raise _cannot_write(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        _flush(temporary)
        temporary.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yields a temporary directory beside ``path``, and renames it to ``path`` when the block succeeds.

    Raises:
        OutputError: ``path`` exists with something in it and ``replace`` is false, or it cannot be written.
    """
    refuse_full(path, replace=replace)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        _put_in_place(temporary, path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_full(path: Path, *, replace: bool) -> None:
    """Refuses a place for a directory that has something in it.

    Raises:
        OutputError: it has, and ``replace`` is false.
    """
    if path.exists() and not replace and (not path.is_dir() or any(path.iterdir())):
        raise OutputError(f"{path} already exists; choose another --out, or add --force to replace it.")


def _put_in_place(temporary: Path, path: Path) -> None:
    """Renames what was there aside first: deleting it takes time, in which a kill would leave half of it."""
    aside = temporary.with_suffix(".old")
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        path.replace(aside)
    temporary.replace(path)
    shutil.rmtree(aside, ignore_errors=True)


def sha256_of(path: Path) -> str:
    """Returns the hexadecimal sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cannot_write(path: Path, error: OSError) -> OutputError:
    reason = error.strerror or str(error)
    return OutputError(f"Cannot write {path}: {reason}; free some space or choose another place.")


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
