"""A Xet store that is a directory: the real client writes to and reads from ``local://`` beside its network stores."""

from __future__ import annotations

import struct
from pathlib import Path

# A shard begins with 48 bytes of header, then comes a record for every file: its hash, flags, the number of segments.
_HEADER, _RECORD = 48, 48
_VERIFICATION, _METADATA = 1 << 31, 1 << 30
_END = b"\xff" * 32


class XetStore:
    """What was uploaded to a directory, by sha256."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def url(self) -> str:
        return f"local://{self.root}"

    def hashes(self) -> dict[str, str]:
        """Returns the Xet hash of every stored file, by its sha256, as the shards record it."""
        found: dict[str, str] = {}
        for shard in self.root.glob("xet/xorbs/shards/*.mdb"):
            found |= _read_shard(shard.read_bytes())
        return found

    def read(self, sha256: str, size: int) -> bytes | None:
        """Returns the bytes of a file, fetched by the real client, or None if it is not here."""
        import hf_xet

        xet_hash = self.hashes().get(sha256)
        if xet_hash is None:
            return None
        target = self.root / f"{sha256}.bytes"
        session = hf_xet.XetSession()
        with session.new_file_download_group(endpoint=self.url, token="-", token_expiry_unix_secs=2**40) as group:
            group.start_download_file(hf_xet.XetFileInfo(xet_hash, size), str(target))
        return target.read_bytes()


def _read_shard(content: bytes) -> dict[str, str]:
    found = {}
    position = _HEADER
    while (hash_ := content[position : position + 32]) != _END:
        flags, segments = struct.unpack_from("<II", content, position + 32)
        position += _RECORD * (1 + segments + (segments if flags & _VERIFICATION else 0))
        if flags & _METADATA:
            found[_hexadecimal(content[position : position + 32])] = _hexadecimal(hash_)
            position += _RECORD
    return found


def _hexadecimal(hash_: bytes) -> str:
    """Xet writes a hash as four little-endian numbers."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", hash_))
