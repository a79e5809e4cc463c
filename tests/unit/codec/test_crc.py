"""The key's slot: known values, hash tags, and the compiled and the written module giving the same."""

from __future__ import annotations

import importlib.util
import os
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.codec import crc

SOURCE = Path(__file__).resolve().parents[3] / "src" / "holdfast" / "codec" / "crc.py"


def from_source() -> ModuleType:
    """The module as it is written, whatever was compiled of it."""
    loader = SourceFileLoader("crc_as_written", str(SOURCE))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


WRITTEN = from_source()
BOTH = pytest.mark.parametrize("module", [crc, WRITTEN], ids=["imported", "written"])


def test_the_two_are_what_they_are_said_to_be() -> None:
    assert not WRITTEN.is_compiled()
    assert crc.is_compiled() == (not str(crc.__file__).endswith(".py"))


@pytest.mark.skipif(
    os.environ.get("HOLDFAST_REQUIRE_COMPILED") != "1", reason="the compiled build is not demanded"
)
def test_the_compiled_build_is_in_charge_where_it_is_demanded() -> None:
    assert crc.is_compiled()


@BOTH
@pytest.mark.parametrize(
    ("buf", "value"),
    [
        (b"", 0x0000),
        (b"123456789", 0x31C3),  # the check value of CRC-16/XMODEM
        (b"\x00", 0x0000),
        (b"\xff", 0x1EF0),
        (b"A", 0x58E5),
    ],
)
def test_known_checksums(module: ModuleType, buf: bytes, value: int) -> None:
    assert module.crc16(buf) == value


@BOTH
@pytest.mark.parametrize(
    ("key", "slot"),
    [
        # CLUSTER KEYSLOT of Redis 6.2, 7.0 and 8.0, Valkey 8.0, 8.1 and 9.1, which agree
        (b"foo", 12182),
        (b"bar", 5061),
        (b"", 0),
        (b"123456789", 12739),
        (b"{user1000}.following", 3443),
        (b"{user1000}.followers", 3443),
        (b"foo{}{bar}", 8363),
        (b"foo{{bar}}zap", 4015),
        (b"foo{bar}{zap}", 5061),
        (b"{}", 15257),
        (b"{", 4092),
        (b"}{", 12793),
        (b"a{b", 13340),
        (b"\x00\xff{\x00}", 0),
    ],
)
def test_slots_of_known_keys(module: ModuleType, key: bytes, slot: int) -> None:
    assert module.key_slot(key) == slot


@BOTH
@pytest.mark.parametrize(
    ("key", "tag"),
    [
        (b"plain", b"plain"),
        (b"{tag}rest", b"tag"),
        (b"x{tag}y{other}", b"tag"),
        (b"x{}y{tag}", b"x{}y{tag}"),
        (b"x{open", b"x{open"),
        (b"x}{tag}", b"tag"),
        (b"{{a}}", b"{a"),
        (b"", b""),
    ],
)
def test_the_part_of_a_key_that_is_hashed(module: ModuleType, key: bytes, tag: bytes) -> None:
    assert module.hash_tag(key) == tag


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_compiled_and_written_agree(key: bytes) -> None:
    assert crc.crc16(key) == WRITTEN.crc16(key)
    assert crc.hash_tag(key) == WRITTEN.hash_tag(key)
    assert crc.key_slot(key) == WRITTEN.key_slot(key)
    assert 0 <= crc.key_slot(key) < crc.SLOTS == WRITTEN.SLOTS


@given(st.binary(max_size=20), st.binary(min_size=1, max_size=20), st.binary(max_size=20))
@settings(max_examples=100, deadline=None)
def test_keys_with_one_tag_lie_in_one_slot(before: bytes, tag: bytes, after: bytes) -> None:
    before, tag = before.replace(b"{", b"("), tag.replace(b"}", b")").replace(b"{", b"(")
    assert crc.key_slot(before + b"{" + tag + b"}" + after) == crc.key_slot(tag)
