"""Every parser of foreign bytes of ours, fed with changed ones: it reads them or says one of our errors, nothing else.

``pytest tests/test_fuzzing.py --hypothesis-profile=long`` tries a hundred times as much, and ``tests/fuzzing.py`` tries
what reaches new code.
"""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzzing import TARGETS

settings.register_profile("long", max_examples=20_000)


@functools.cache
def seeds(name: str) -> list[bytes]:
    return TARGETS[name].seeds()


@st.composite
def changed(draw: st.DrawFn, content: bytes) -> bytes:
    """A file with some bytes changed, put in, left out or cut off."""
    result = bytearray(content)
    special = st.sampled_from([b"\0", b"\xff", b"\x7f", b"\x80", b"9" * 20, b"(" * 50, b"[" * 2000, b"\xff" * 8, b"-1"])
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(result)))
        piece = draw(st.one_of(special, st.binary(min_size=1, max_size=4)))
        length = draw(st.sampled_from([0, 1, len(piece), 8]))
        result[at : at + length] = piece
    if draw(st.booleans()):
        del result[draw(st.integers(0, len(result))) :]
    return bytes(result)


@pytest.mark.parametrize("name", TARGETS)
def test_what_it_begins_from_is_read(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    (tmp_path / target.file).write_bytes(seeds(name)[0])
    target.read(tmp_path / target.file)


@pytest.mark.parametrize("name", TARGETS)
@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_changed_file_is_read_or_refused(
    name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzzing"
    folder.mkdir(exist_ok=True)
    TARGETS[name](data.draw(changed(data.draw(st.sampled_from(seeds(name))))), folder)
