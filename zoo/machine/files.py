"""Writing so that nothing half-written ever stands under its final name, if the power fails either; and checksums."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from igan_zoo.errors import IganZooError, OutputError, first_line

_PART = ".part"
# Between making a file and locking it, nobody may take it for a dead one.
_SECONDS_TO_LOCK = 1.0
# Of renameat2, from Linux's headers.
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path`` to write to, and renames it to ``path`` when the block succeeds.

    What killed processes left of the same ``path`` is removed.

    Raises:
        OutputError: the place cannot be written, or the disk is full; nothing is left behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_dead(path)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_PART)
    except OSError as error:
        raise _cannot_write(path, error) from error
    temporary = Path(name)
    try:
        _try_lock(handle)
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        put_in_place(temporary, path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)
        os.close(handle)


@contextmanager
def atomic_directory(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yields a temporary directory beside ``path``, and renames it to ``path`` when the block succeeds.

    Where the system can, a directory that is there is exchanged in one step, so that a kill at any time leaves one of
    the two. What killed processes left of the same ``path`` is removed.

    Raises:
        OutputError: ``path`` exists with something in it and ``replace`` is false, or it cannot be written.
    """
    refuse_full(path, replace=replace)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_dead(path)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=_PART))
        handle = os.open(temporary, os.O_RDONLY)
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        _try_lock(handle)
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        _put_folder_in_place(temporary, path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(handle)


@contextmanager
def alone(folder: Path, refusal: IganZooError) -> Iterator[None]:
    """Lets one process at a time work in a folder, which is made; the system ends that after any kill.

    Where a file system has no locks, as some that are shared have none, all may.

    Raises:
        IganZooError: ``refusal``, because another process is at work there.
        OutputError: the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise _cannot_write(folder, error) from error
    try:
        if _try_lock(handle) is False:
            raise refusal
        yield
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool | None:
    """Locks an open file or folder; false if another process has, None where there are no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _remove_dead(path: Path) -> None:
    """Removes what was to become ``path`` and is locked by nobody: its process is dead."""
    ours = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}{re.escape(_PART)}")
    for name in filter(ours.fullmatch, os.listdir(path.parent)):  # noqa: PTH208 - many names, without a Path for each
        rest = path.parent / name
        try:
            handle = os.open(rest, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            if _try_lock(handle) and time.time() - os.fstat(handle).st_mtime > _SECONDS_TO_LOCK:
                shutil.rmtree(rest, ignore_errors=True) if rest.is_dir() else rest.unlink(missing_ok=True)
        finally:
            os.close(handle)


def refuse_full(path: Path, *, replace: bool, option: str = "--out") -> None:
    """Refuses a place, given by ``option``, for a directory that has something in it, or for a file that is there.

    Raises:
        OutputError: it has, and ``replace`` is false.
    """
    if path.exists() and not replace and (not path.is_dir() or any(path.iterdir())):
        raise OutputError(f"{path} already exists; choose another {option}, or add --force to replace it.")


def refuse_unwritable(path: Path) -> None:
    """Refuses a place where no folder can be made, before the work whose results it is for.

    Raises:
        OutputError: something on the way to it is no folder, or may not be written.
    """
    place = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    if not place.is_dir():
        raise OutputError(f"Cannot write {path}: {place} is not a folder; choose another --out.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise OutputError(f"Cannot write {path}: {place} is not writable; choose another --out.")


def keep_inputs(outputs: Iterable[Path | None], inputs: Iterable[Path | None]) -> None:
    """Refuses an output that is, or contains, something a command reads, however the user asks for it.

    Raises:
        OutputError: names output and input.
    """
    read = [path.resolve() for path in inputs if path is not None and path.exists()]
    for output in outputs:
        for path in read:
            if output is not None and path.is_relative_to(output.resolve()):
                raise OutputError(f"Writing {output} would overwrite {path}, which is an input; choose another place.")


def put_in_place(temporary: Path, path: Path) -> None:
    """Gives a finished file its name: whole even if the power fails, which may undo a rename but not half of it.

    Raises:
        OSError: it cannot be written to the disk, or renamed.
    """
    _flush(temporary)
    temporary.replace(path)
    _flush(path.parent)


def _put_folder_in_place(temporary: Path, path: Path) -> None:
    """Gives ``path`` to a finished directory; what was there gets its name, and is deleted under that."""
    _flush_all(temporary)
    if path.is_symlink() or path.is_file():
        path.unlink()
    if not path.is_dir() or not any(path.iterdir()):
        temporary.replace(path)
    elif not _exchange(temporary, path):
        # A kill between the two leaves nothing under the name, but deleting first would take longer.
        aside = temporary.with_suffix(".old")
        path.replace(aside)
        temporary.replace(path)
        aside.replace(temporary)
    _flush(path.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Exchanges two directories in one step; false where system or file system cannot."""
    import ctypes

    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    done: int = rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return done == 0


@contextmanager
def reading(path: Path, kind: str, error: type[IganZooError]) -> Iterator[None]:
    """Turns whatever goes wrong while a foreign file is read into one error: parsers raise anything at damaged bytes.

    What is no regular file is refused before the block, which might wait for a pipe or read a device without an end.

    Raises:
        IganZooError: ``error``, which says that ``path`` cannot be read or is not ``kind``; or one of the block's own.
    """
    if path.exists() and not path.is_file():
        raise error(f"{path} is not {kind}: it is not a regular file.")
    try:
        yield
    except IganZooError:
        raise
    except OSError as problem:
        raise error(f"Cannot read {path}: {problem.strerror or problem}.") from problem
    except Exception as problem:
        raise error(f"{path} is not {kind}, or is damaged: {first_line(problem)}") from problem


def refuse_small_disk(folder: Path, needed: int) -> None:
    """Refuses to write more bytes than the disk of a folder has free, the folder not yet being there included.

    Raises:
        OutputError: says how much is needed.
    """
    place = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    usage = shutil.disk_usage(place)
    free = usage.free
    # Some file systems, as /proc, have no size; writing says what is wrong with them.
    if usage.total and needed > free:
        raise OutputError(
            f"This needs {needed / 1e9:,.1f} GB in {folder}, which has {free / 1e9:,.1f} GB free; free some space or "
            "choose another place."
        )


def open_regular(path: Path) -> io.BufferedReader:
    """Opens a file to be read: not a pipe, which may never be written, and not a device, which may never end.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(kind, "Is a folder" if stat.S_ISDIR(mode) else "It is not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def sha256_of(path: Path) -> str:
    """Returns the hexadecimal sha256 of a regular file's bytes."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cannot_write(path: Path, error: OSError) -> OutputError:
    reason = error.strerror or str(error)
    return OutputError(f"Cannot write {path}: {reason}; free some space or choose another place.")


def _flush(path: Path) -> None:
    """Returns once a file's bytes, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems do not flush folders.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def _flush_all(folder: Path) -> None:
    """The same of a folder and everything in it.

    One call for its whole file system takes a twentieth of the time of one for each of 300 files.
    """
    import ctypes

    try:
        flush = ctypes.CDLL(None).syncfs
    except (AttributeError, OSError):
        for path in (*folder.rglob("*"), folder):
            _flush(path)
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        if flush(handle) != 0:
            raise OSError(errno.EIO, "The disk did not accept it", str(folder))
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
