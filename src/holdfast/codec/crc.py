"""Checksums of the engines: CRC-16 of a key's hash tag, which says in which of the 16384 slots the key lies."""

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


def is_compiled() -> bool:
    """Whether the compiled twin of this module is in charge."""
    return not __file__.endswith(".py")
