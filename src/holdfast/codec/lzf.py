"""LZF, the compression of strings inside RDB files: expanding only, since every engine loads a plain string as well."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.errors import HoldfastError

MOST_FROM_ONE_BYTE = 132
"""No three bytes expand to more than 264, so a claim of more than this from each byte is false."""


@dataclass(eq=False)
class CorruptLzf(HoldfastError):
    """Compressed bytes that do not expand to what they claim."""

    at: int
    """Index in the compressed bytes."""
    found: str

    def __str__(self) -> str:
        return f"the compressed string is corrupt at its byte {self.at}: {self.found}; it cannot be expanded"


def expand(packed: bytes, length: int) -> bytes:
    """The `length` bytes that `packed` stands for.

    Args: `length`, as the RDB states it; memory of that size is taken only when `packed` could give so much.
    Raises: CorruptLzf when it points outside what has been written, ends inside an order, or gives more or fewer bytes.
    Source: the format as written by the engines' lzf_c.c: control < 32 means control + 1 literal bytes, otherwise a run
        of (control >> 5) + 2 bytes (7 adds the next byte) from ((control & 31) << 8 | next) + 1 bytes back.
    """
    end = len(packed)
    if length < 0 or length > end * MOST_FROM_ONE_BYTE:
        raise CorruptLzf(0, f"{end} bytes cannot expand to {length}")
    whole = bytearray(length)
    out = whole
    p = packed
    at = 0
    put = 0
    while at < end:
        control = p[at]
        at += 1
        if control < 32:
            count = control + 1
            if at + count > end or put + count > length:
                raise CorruptLzf(at, f"{count} literal bytes do not fit")
            copy_bytes(out, put, p, at, count)
            at += count
            put += count
            continue
        count = control >> 5
        if count == 7:
            if at >= end:
                raise CorruptLzf(at, "it ends inside an order")
            count += p[at]
            at += 1
        count += 2
        if at >= end:
            raise CorruptLzf(at, "it ends inside an order")
        back = ((control & 31) << 8 | p[at]) + 1
        at += 1
        if back > put or put + count > length:
            raise CorruptLzf(at, f"a run of {count} from {back} back does not fit at {put} of {length}")
        repeat(out, put, back, count)
        put += count
    if put != length:
        raise CorruptLzf(at, f"it gives {put} bytes instead of {length}")
    return bytes(whole)


def copy_bytes(out: bytearray, put: int, p: bytes, at: int, count: int) -> None:
    """Copy `count` bytes of `p` from `at` into `out` at `put`; the caller has made sure that both hold them."""
    for step in range(count):
        out[put + step] = p[at + step]


def repeat(out: bytearray, put: int, back: int, count: int) -> None:
    """Copy inside `out`, byte by byte: the run may overlap what it is copied from."""
    for step in range(count):
        out[put + step] = out[put - back + step]
