"""Keys whose time was put off are remembered over the death of the process."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.migrate.write.held import HeldKeys

SOME = [(0, b"a\r\n\x00", 1_000, 2_000), (3, b"", 5, 6)]


def test_what_was_held_is_read_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "held"
    held = HeldKeys()
    held.add_snapshot(SOME[:1])
    held.add(SOME[1:])
    held.save(path)
    assert HeldKeys.restored(path).from_snapshot == SOME
    assert path.stat().st_mode & 0o077 == 0
    path.unlink()
    held.save(path)
    assert not path.exists()  # nothing changed since
    held.add_snapshot([])
    held.add([])
    held.save(path)
    assert HeldKeys.restored(path).from_snapshot == SOME[1:]


@pytest.mark.parametrize("spoilt", [b"", b"x", b"*4\r\n$1\r\n0", b"*1\r\n$1\r\n0\r\n"])
def test_a_file_that_cannot_be_read_is_none(spoilt: bytes, tmp_path: Path) -> None:
    (tmp_path / "held").write_bytes(spoilt)
    assert HeldKeys.restored(tmp_path / "held").from_snapshot == []
    assert HeldKeys.restored(tmp_path / "none").from_snapshot == []
