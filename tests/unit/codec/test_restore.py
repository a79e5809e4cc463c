"""RESTORE commands are those that one would write by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.codec.crc import crc64
from holdfast.codec.restore import RestorePacker
from holdfast.engine.pipeline import pack

END = st.one_of(st.just(0), st.integers(0, 2**63 - 1), st.sampled_from([10**18 - 1, 10**18]))
MORE = st.one_of(
    st.just((-1, -1)),
    st.integers(0, 255).map(lambda freq: (freq, -1)),
    st.integers(0, 10**9).map(lambda idle: (-1, idle)),
)


@given(
    st.lists(
        st.tuples(st.binary(max_size=200), st.integers(0, 28), st.binary(max_size=300), END, MORE), max_size=5
    )
)
def test_each_is_what_it_is_by_hand(keys: list[tuple[bytes, int, bytes, int, tuple[int, int]]]) -> None:
    packer = RestorePacker(11)
    for key, kind, value, ends_ms, (freq, idle_s) in keys:
        body = bytes([kind]) + value + b"\x0b\x00"
        payload = body + crc64(body).to_bytes(8, "little")
        more = ("FREQ", freq) if freq >= 0 else ("IDLETIME", idle_s) if idle_s >= 0 else ()
        by_hand = pack("RESTORE", key, ends_ms, payload, "REPLACE", "ABSTTL", *more)
        assert packer.pack(key, kind, value, ends_ms, freq, idle_s) == by_hand


@pytest.mark.parametrize("size", [0, 63, 64, 65, 65_000, 65_536, 300_000])
def test_values_and_keys_of_any_size(size: int) -> None:
    data = bytes(number % 251 for number in range(size))
    body = b"\x00" + data + b"\x50\x00"
    payload = body + crc64(body).to_bytes(8, "little")
    packer = RestorePacker(80)
    for key in (b"k", data):
        assert packer.pack(key, 0, data, 0, -1, -1) == pack("RESTORE", key, 0, payload, "REPLACE", "ABSTTL")


def test_an_end_before_all_time_is_left_for_the_engine_to_refuse() -> None:
    assert b"\r\n$2\r\n-1\r\n$12\r\n" in RestorePacker(11).pack(b"k", 0, b"v", -(2**63), -1, -1)
