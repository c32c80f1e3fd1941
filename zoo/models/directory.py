"""A model directory (contract 1): opened, checked byte for byte, and written."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from igan_zoo.errors import ChecksumError, ModelDirectoryError
from igan_zoo.machine.files import open_regular, sha256_of
from igan_zoo.models.spec import CONFIG, FileSpec, ModelSpec, encode_spec, read_spec


@dataclass(frozen=True)
class ModelDirectory:
    """A directory with a valid ``config.json``. Its other files are checked when they are read."""

    path: Path
    spec: ModelSpec

    @staticmethod
    def open(path: Path) -> ModelDirectory:
        """Reads the specification in ``path``.

        Raises:
            ModelDirectoryError: there is no ``config.json``.
            SpecificationError: it is not valid.
        """
        return ModelDirectory(path, read_spec(path / CONFIG))

    def read(self, name: str) -> bytes:
        """Returns the bytes of a file, checked against the specification before anyone uses them.

        Raises:
            ChecksumError: the bytes are others than promised; both sums are named.
            ModelDirectoryError: the file is missing.
        """
        path, expected = self.path / name, self.spec.files[name]
        try:
            with open_regular(path) as file:
                _compare_size(path, expected, file)
                content = file.read(expected.size)
        except OSError as error:
            raise _missing(path, error) from error
        _compare(path, expected, hashlib.sha256(content).hexdigest())
        return content

    def present(self) -> set[str]:
        """Returns which of the files that the specification names are here."""
        return {name for name in self.spec.files if (self.path / name).exists()}

    def verify(self) -> list[str]:
        """Checks every file and returns the names of those that are not here and may be left out.

        These are the training weights, and forms of a graph of which another form is here.

        Raises:
            ChecksumError: a file's bytes are others than promised.
            ModelDirectoryError: a file is missing, or is here and not named.
        """
        absent = []
        present = self.present()
        for name, expected in self.spec.files.items():
            path = self.path / name
            if name not in present and self.spec.may_lack(name, present):
                absent.append(name)
                continue
            try:
                with open_regular(path) as file:
                    _compare_size(path, expected, file)
                    _compare(path, expected, hashlib.file_digest(file, "sha256").hexdigest())
            except OSError as error:
                raise _missing(path, error) from error
        for path in sorted(self.path.rglob("*")):
            name = path.relative_to(self.path).as_posix()
            if not path.is_dir() and name not in self.spec.files and name not in (CONFIG, ".gitattributes"):
                raise ModelDirectoryError(
                    f"{path} is not named in {CONFIG}; remove it or download the directory again."
                )
        return absent


def seal(path: Path, spec: ModelSpec) -> ModelDirectory:
    """Writes ``config.json`` into ``path``, naming every file that is there with its sum and size."""
    files = {
        file.relative_to(path).as_posix(): FileSpec(sha256=sha256_of(file), size=file.stat().st_size)
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name != CONFIG
    }
    (path / CONFIG).write_bytes(encode_spec(msgspec.structs.replace(spec, files=files)))
    return ModelDirectory.open(path)


def _compare_size(path: Path, expected: FileSpec, file: IO[bytes]) -> None:
    """Before anything is read, which of a file of another size could take long."""
    size = os.fstat(file.fileno()).st_size
    if size != expected.size:
        raise ChecksumError(
            f"{path} is damaged or was changed: its size is {size} bytes, but {CONFIG} lists "
            f"{expected.size}; download the file again."
        )


def _compare(path: Path, expected: FileSpec, sha256: str) -> None:
    if sha256 != expected.sha256:
        raise ChecksumError(
            f"{path} is damaged or was changed: its sha256 is {sha256} ({expected.size} bytes), but {CONFIG} lists "
            f"{expected.sha256}; download the file again."
        )


def _missing(path: Path, error: OSError) -> ModelDirectoryError:
    return ModelDirectoryError(f"{path} cannot be read ({error.strerror}); download the model directory again.")
