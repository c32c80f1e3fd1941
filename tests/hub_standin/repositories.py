"""What the stand-in stores: repositories, their commits, and the tokens that may see and change them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

READ_TOKEN = "hf_standinReaderReaderReaderReaderRead"
WRITE_TOKEN = "hf_standinWriterWriterWriterWriterWrit"
ROLES = {READ_TOKEN: "read", WRITE_TOKEN: "write"}


@dataclass(frozen=True)
class StoredFile:
    """A file of a commit; ``xet`` is the hash of what was uploaded to the Xet store."""

    content: bytes
    lfs: bool
    xet: str | None = None

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def oid(self) -> str:
        """Git's name of the blob, or of the pointer that stands for a large file."""
        content = self.pointer if self.lfs else self.content
        return hashlib.sha1(b"blob %d\0%b" % (len(content), content)).hexdigest()

    @property
    def pointer(self) -> bytes:
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.content)}\n"
        return text.encode()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.oid


@dataclass
class Repository:
    """A repository: its commits by id, and where its branches and pull requests stand."""

    name: str
    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, StoredFile]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.commit({".gitattributes": StoredFile(b"*.onnx filter=lfs diff=lfs merge=lfs -text\n", lfs=False)}, "main")

    def commit(self, files: dict[str, StoredFile], ref: str) -> str:
        """Makes ``files`` the whole content of a branch and returns the commit's id."""
        listing = {path: file.oid for path, file in sorted(files.items())}
        parent = self.refs.get(ref, "")
        oid = hashlib.sha1(json.dumps([self.name, parent, len(self.commits), listing]).encode()).hexdigest()
        self.commits[oid] = dict(files)
        self.refs[ref] = oid
        return oid

    def resolve(self, revision: str) -> str | None:
        """Returns the commit that a branch, a pull request, HEAD or a commit id stands for."""
        if revision in self.commits:
            return revision
        return self.refs.get("main" if revision == "HEAD" else revision)

    def replace(self, path: str, content: bytes) -> str:
        """Puts other bytes under a name, in a commit of its own on the main branch."""
        files = dict(self.commits[self.refs["main"]])
        files[path] = StoredFile(content, lfs=files[path].lfs)
        return self.commit(files, "main")

    def add_directory(self, path: Path, ref: str = "main") -> str:
        """Commits all files of a directory to a branch, as if they had been uploaded, and returns the commit's id."""
        files = {
            file.relative_to(path).as_posix(): StoredFile(file.read_bytes(), lfs=is_large(file.name))
            for file in path.rglob("*")
            if file.is_file()
        }
        return self.commit(files, ref)


def is_large(path: str) -> bool:
    """Returns whether the Hub would keep a file as a large one."""
    return path.endswith((".onnx", ".safetensors", ".png", ".parquet"))
