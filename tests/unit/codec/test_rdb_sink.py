"""The sink gives what was written, in order, with its checksum, wherever its room ends."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.codec.crc import crc64
from holdfast.codec.rdb.sink import Sink
from holdfast.codec.rdb.writer import write_length

SIZES = st.one_of(st.integers(0, 80), st.integers(4000, 4200), st.integers(60_000, 70_000))
WRITES = st.lists(
    st.one_of(
        st.tuples(st.just("span"), SIZES),
        st.tuples(st.just("length"), st.sampled_from([0, 63, 64, 16383, 16384, (1 << 32) - 1, 1 << 32, (1 << 64) - 1])),
        st.tuples(st.just("low_first"), st.integers(0, (1 << 64) - 1)),
        st.tuples(st.just("byte"), st.integers(0, 255)),
        st.tuples(st.just("take"), st.just(0)),
    ),
    max_size=40,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(writes=WRITES, fill=st.sampled_from([0, 65_500, 65_527, 65_535, 65_536]))
def test_what_is_taken_is_what_was_written(writes: list[tuple[str, int]], fill: int) -> None:
    source = bytes(range(256)) * 300
    sink = Sink()
    for _ in range(fill):
        sink.byte(7)
    wanted = b"\x07" * fill
    taken = b""
    for what, number in writes:
        if what == "span":
            sink.span(source, 3, 3 + number)
            wanted += source[3 : 3 + number]
        elif what == "length":
            sink.length(number)
            wanted += write_length(number)
        elif what == "low_first":
            sink.low_first(number)
            wanted += number.to_bytes(8, "little")
        elif what == "byte":
            sink.byte(number)
            wanted += bytes((number,))
        else:
            taken += sink.take()
    assert sink.crc() == crc64(wanted)
    assert taken + sink.take() == wanted
    assert sink.take() == b""
