"""Checksums of the engines: CRC-16 of a key's hash tag, which says in which of the 16384 slots the key lies, and
CRC-64, which closes RDB files and DUMP payloads.
"""

from __future__ import annotations

SLOTS = 16384
"""Slots of a cluster (cluster specification, section "Key distribution model")."""

_POLYNOMIAL = 0x1021


def _table() -> tuple[int, ...]:
    rows = []
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = ((crc << 1) ^ _POLYNOMIAL) & 0xFFFF if crc & 0x8000 else crc << 1
        rows.append(crc & 0xFFFF)
    return tuple(rows)


_CRC16: tuple[int, ...] = _table()


def crc16(buf: bytes) -> int:
    """CRC-16/XMODEM of all of `buf`: 0 to 65535.

    Source: appendix A of the cluster specification; crc16("123456789") is 0x31C3.
    """
    crc = 0
    for byte in buf:
        crc = ((crc << 8) & 0xFFFF) ^ _CRC16[((crc >> 8) ^ byte) & 0xFF]
    return crc


def hash_tag(key: bytes) -> bytes:
    """The part of `key` that is hashed: what stands between the first `{` and the next `}` if that is not
    empty, else all of it.
    """
    opened = key.find(b"{")
    if opened >= 0:
        closed = key.find(b"}", opened + 1)
        if closed > opened + 1:
            return key[opened + 1 : closed]
    return key


def key_slot(key: bytes) -> int:
    """The slot of `key`: 0 to 16383."""
    return crc16(hash_tag(key)) % SLOTS


_POLYNOMIAL_64 = 0x95AC9329AC4BC9B5
"""0xAD93D23594C935A9 with its bits in reverse order, since this CRC takes each byte's lowest bit first."""
_SLICES = 16
"""Bytes that are taken at once; each has a table of its own."""


def _slices() -> list[int]:
    """`_SLICES` tables of 256, one after another: the k-th gives what a byte does to the CRC k bytes later."""
    tables = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ _POLYNOMIAL_64 if crc & 1 else crc >> 1
        tables.append(crc)
    for at in range(256, 256 * _SLICES):
        before = tables[at - 256]
        tables.append((before >> 8) ^ tables[before & 0xFF])
    return tables


_CRC64 = _slices()


def crc64_span(buf: bytes, at: int, end: int, crc: int) -> int:
    """Go on with a CRC-64: that of what came before (`crc`, 0 at the start) and of `buf` from `at` to before `end`,
    which the caller has made sure of.
    """
    while end - at >= 16:
        # Spelled out, so that a compiler sees four loads of a word; a function of its own is not inlined.
        first = buf[at] | buf[at + 1] << 8 | buf[at + 2] << 16 | buf[at + 3] << 24
        second = buf[at + 4] | buf[at + 5] << 8 | buf[at + 6] << 16 | buf[at + 7] << 24
        third = buf[at + 8] | buf[at + 9] << 8 | buf[at + 10] << 16 | buf[at + 11] << 24
        fourth = buf[at + 12] | buf[at + 13] << 8 | buf[at + 14] << 16 | buf[at + 15] << 24
        low = (second << 32 | first) ^ crc
        high = fourth << 32 | third
        crc = (
            _CRC64[3840 + (low & 0xFF)]
            ^ _CRC64[3584 + (low >> 8 & 0xFF)]
            ^ _CRC64[3328 + (low >> 16 & 0xFF)]
            ^ _CRC64[3072 + (low >> 24 & 0xFF)]
            ^ _CRC64[2816 + (low >> 32 & 0xFF)]
            ^ _CRC64[2560 + (low >> 40 & 0xFF)]
            ^ _CRC64[2304 + (low >> 48 & 0xFF)]
            ^ _CRC64[2048 + (low >> 56)]
            ^ _CRC64[1792 + (high & 0xFF)]
            ^ _CRC64[1536 + (high >> 8 & 0xFF)]
            ^ _CRC64[1280 + (high >> 16 & 0xFF)]
            ^ _CRC64[1024 + (high >> 24 & 0xFF)]
            ^ _CRC64[768 + (high >> 32 & 0xFF)]
            ^ _CRC64[512 + (high >> 40 & 0xFF)]
            ^ _CRC64[256 + (high >> 48 & 0xFF)]
            ^ _CRC64[high >> 56]
        )
        at += 16
    while at < end:
        crc = (crc >> 8) ^ _CRC64[(crc ^ buf[at]) & 0xFF]
        at += 1
    return crc


class Crc64:
    """A CRC-64 that grows: `value` is that of all bytes added so far, 0 at the start."""

    def __init__(self) -> None:
        self.value = 0

    def add(self, buf: bytes, at: int, end: int) -> None:
        """Take `buf` from `at` to before `end`. Raises: IndexError when that is not inside `buf`."""
        if not 0 <= at <= end <= len(buf):
            raise IndexError(f"{at} to {end} of {len(buf)} bytes")
        self.value = crc64_span(buf, at, end, self.value)


def crc64(buf: bytes, crc: int = 0) -> int:
    """CRC-64 of all of `buf`: 0 to 2**64 - 1. Args: `crc`, that of the bytes before, when there are some.

    Source: src/crc64.c of Redis and Valkey ("Jones"); crc64("123456789") is 0xE9C6D914C4B8D9CA.
    """
    return crc64_span(buf, 0, len(buf), crc)


def is_compiled() -> bool:
    """Whether the compiled twin of this module is in charge."""
    return not __file__.endswith(".py")
