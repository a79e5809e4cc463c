"""Values and their bytes: JSON bare, so that every other client reads it too; all else behind a short header that names it.

The header (big-endian): C1 48, version 1, form, fresh_until (Unix ms, 0: not said), load_ms (how long its loader took).
C1 begins no JSON text and no MessagePack value. `form` is codec (low four bits) and compression (high four).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import orjson

from holdfast.client import many
from holdfast.client.errors import NamespaceInvalid, ValueRefused

MAGIC = b"\xc1H"
"""Begins a header; `many` looks for it too."""
VERSION = 1
_HEADER = struct.Struct(">2sBBQI")
HEADER_BYTES = _HEADER.size
FRESH_UNTIL_AT = 4
"""Where fresh_until lies in the header: a refresh in another process is told by writing it forward."""
JSON, MSGPACK, BYTES, NOTHING, LEASE = range(5)
PLAIN, LZ4, ZSTD = range(3)
CODECS = {"json": JSON, "msgpack": MSGPACK, "bytes": BYTES}
LARGEST_VALUE_BYTES = 512 * 1024 * 1024
"""The servers' own limit of a string."""
_LZ4_SIZE = struct.Struct("<I")

Encode = Callable[[Any], bytes]
Decode = Callable[[bytes], Any]


@dataclass(slots=True)
class Stored:
    """What a key holds, taken apart as far as the policies need it."""

    raw: bytes
    """As the server has it."""
    form: int
    fresh_until_ms: int
    load_ms: int
    bare: bool = False

    @property
    def is_lease(self) -> bool:
        """No value: somebody is loading it, and these bytes are the proof of who."""
        return self.form & 15 == LEASE

    @property
    def is_nothing(self) -> bool:
        """It is remembered that there is no such thing."""
        return self.form & 15 == NOTHING


class Unreadable(ValueError):
    """These bytes are no value; its text says why."""


def take_apart(raw: bytes, codec: int) -> Stored:
    """Read the header, or take the bytes for a bare value of that codec. Raises: Unreadable."""
    if raw[:2] != MAGIC:
        return Stored(raw, codec, 0, 0, bare=True)
    if len(raw) < HEADER_BYTES:
        raise Unreadable("its header is cut off")
    _, version, form, fresh_until_ms, load_ms = _HEADER.unpack_from(raw)
    if version != VERSION:
        raise Unreadable(f"a newer client wrote it (version {version}, known: {VERSION})")
    if form & 15 > LEASE or form >> 4 > ZSTD:
        raise Unreadable(f"its form is {form:#x}, which is none that is known")
    return Stored(raw, form, fresh_until_ms, load_ms)


def with_header(form: int, payload: bytes, fresh_until_ms: int = 0, load_ms: int = 0) -> bytes:
    """The bytes of a value with its header."""
    return _HEADER.pack(MAGIC, VERSION, form, fresh_until_ms, min(load_ms, 2**32 - 1)) + payload


def fresh_until_bytes(at_ms: int) -> bytes:
    """The header's field alone, as SETRANGE writes it at FRESH_UNTIL_AT."""
    return at_ms.to_bytes(8, "big")


class Values:
    """How the values of one namespace become bytes and come back.

    Args: `codec`: json, msgpack or bytes. `kind`: what values are made into: None (plain objects), a pydantic model or a
        dataclass. `compress_above_bytes`: from which size on; None: never.
    Raises: NamespaceInvalid when a part that this needs is not installed.
    """

    __slots__ = (
        "_compress",
        "_compress_above",
        "_decode",
        "_encode",
        "_largest",
        "codec",
        "kind",
        "namespace",
    )

    def __init__(
        self,
        namespace: str,
        codec: str = "json",
        kind: Any = None,
        compress_above_bytes: int | None = None,
        largest_bytes: int = LARGEST_VALUE_BYTES,
    ) -> None:
        if codec not in CODECS:
            raise NamespaceInvalid(namespace, f"there is no codec {codec!r}; use one of {', '.join(CODECS)}")
        if codec == "bytes" and kind not in (None, bytes):
            raise NamespaceInvalid(namespace, f"the codec bytes gives bytes, not {kind!r}")
        self.namespace, self.codec, self.kind = namespace, CODECS[codec], kind
        self._largest = largest_bytes
        self._compress_above = (
            compress_above_bytes if compress_above_bytes is not None else LARGEST_VALUE_BYTES
        )
        self._compress = _compressor(namespace) if compress_above_bytes is not None else None
        self._encode, shape = _shaped(namespace, self.codec, kind)
        self._decode = {
            code: _decoder(code, shape) for code in ((BYTES,) if codec == "bytes" else (JSON, MSGPACK))
        }

    def encode(self, value: Any, *, fresh_until_ms: int = 0, load_ms: int = 0, headed: bool = False) -> bytes:
        """The bytes to be kept; bare JSON or bytes unless something has to be said about them.

        Raises: ValueRefused.
        """
        try:
            payload = self._encode(value)
        except (TypeError, ValueError, OverflowError, RecursionError) as wrong:
            raise ValueRefused(
                self.namespace, f"{type(value).__name__} cannot be written: {wrong}"
            ) from wrong
        if len(payload) > self._largest:
            raise ValueRefused(
                self.namespace, f"it has {len(payload)} bytes, and {self._largest} is the most"
            )
        packed = PLAIN
        if len(payload) > self._compress_above and self._compress is not None:
            smaller, how = self._compress(payload)
            if len(smaller) < len(payload):
                payload, packed = smaller, how
        bare = not headed and packed == PLAIN and self.codec != MSGPACK and payload[:2] != MAGIC
        return payload if bare else with_header(self.codec | packed << 4, payload, fresh_until_ms, load_ms)

    def decode_bare(self, raw: bytes) -> Any:
        """The value of bytes without a header. Raises: Unreadable."""
        decode = self._decode.get(self.codec)
        try:
            return decode(raw) if decode is not None else None
        except Exception as wrong:  # as in `decode`
            raise Unreadable(f"{type(wrong).__name__}: {str(wrong)[:200]}") from wrong

    def by_key(self, keys: list[str], replies: list[Any]) -> dict[str, Any] | None:
        """The values of those that are there, from bytes without a header; None where one of them has to be looked at."""
        try:
            return many.by_key(keys, replies, None if self.codec == BYTES else self._decode[self.codec])
        except Exception:  # as in `decode`
            return None

    def decode(self, stored: Stored) -> Any:
        """The value. Raises: Unreadable, whatever the bytes are."""
        decode = self._decode.get(stored.form & 15)
        if decode is None:
            raise Unreadable("it was written with another codec")
        payload = stored.raw if stored.bare else stored.raw[HEADER_BYTES:]
        try:
            if stored.form >> 4:
                payload = _expanded(payload, stored.form >> 4, self._largest)
            return decode(payload)
        except Unreadable:
            raise
        except Exception as wrong:  # whatever a decoder or a model's own validators raise: it is no value
            raise Unreadable(f"{type(wrong).__name__}: {str(wrong)[:200]}") from wrong


def _shaped(namespace: str, codec: int, kind: Any) -> tuple[Encode, Callable[[Any], Any] | None]:
    """How a value is written, and how what was decoded is made into its kind."""
    if codec == BYTES:
        return _bytes_only, None
    plain = _written(namespace, codec)
    if kind is None or kind in (dict, list, str, int, float, bool, object, Any):
        return plain, None if kind in (None, object, Any) else _instance_of(kind)
    if isinstance(kind, type) and hasattr(kind, "model_validate"):
        return lambda value: plain(_dumped(value, kind)), kind.model_validate
    from holdfast.client.shapes import Unshapeable, reader_of

    try:
        read = reader_of(kind)
    except Unshapeable as wrong:
        raise NamespaceInvalid(namespace, str(wrong)) from wrong
    if is_dataclass(kind):
        return lambda value: plain(_of_kind(value, kind)), read
    return plain, read


def _written(namespace: str, codec: int) -> Encode:
    if codec == JSON:
        return _json_written
    try:
        import msgspec
    except ImportError as absent:
        raise NamespaceInvalid(
            namespace, "msgpack needs msgspec: pip install 'holdfast[msgpack]'"
        ) from absent
    return msgspec.msgpack.Encoder().encode


def _json_written(value: Any) -> bytes:
    raw = orjson.dumps(value)
    if b"null" in raw and not _finite(value):  # orjson writes null for what JSON has no number for
        raise ValueError("NaN and infinity are no JSON")
    return raw


def _finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_finite, value))
    if is_dataclass(value):
        return all(_finite(getattr(value, each.name)) for each in fields(value))
    return True


def _bytes_only(value: Any) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError("only bytes are kept here")
    return bytes(value)


def _dumped(value: Any, kind: Any) -> Any:
    return _of_kind(value, kind).model_dump(mode="json")


def _of_kind(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{kind.__name__} is kept here")
    return value


def _instance_of(kind: Any) -> Callable[[Any], Any]:
    def checked(value: Any) -> Any:
        if not isinstance(value, kind):
            raise Unreadable(f"{type(value).__name__} where {kind.__name__} is kept")
        return value

    return checked


def _decoder(codec: int, shape: Callable[[Any], Any] | None) -> Decode:
    read = {JSON: orjson.loads, MSGPACK: _msgpack_read, BYTES: bytes}[codec]
    if shape is None:
        return read
    return lambda payload: shape(read(payload))


def _msgpack_read(payload: bytes) -> Any:
    try:
        import msgspec
    except ImportError:
        raise Unreadable(
            "it is msgpack, and msgspec is not installed: pip install 'holdfast[msgpack]'"
        ) from None
    return msgspec.msgpack.decode(payload)


def _compressor(namespace: str) -> Callable[[bytes], tuple[bytes, int]]:
    """lz4 where it is installed, else zstd: both cost microseconds for what a cache holds."""
    try:
        import lz4.block
    except ImportError:
        pass
    else:
        pack = lz4.block.compress
        return lambda payload: (pack(payload), LZ4)
    try:
        import zstandard
    except ImportError as absent:
        raise NamespaceInvalid(
            namespace, "compression needs lz4 or zstandard: pip install 'holdfast[compress]'"
        ) from absent
    return lambda payload: (zstandard.ZstdCompressor(level=1).compress(payload), ZSTD)


def _expanded(payload: bytes, how: int, largest_bytes: int) -> bytes:
    """Undo the compression; a size that is claimed and may not be is refused before memory is taken for it."""
    try:
        if how == LZ4:
            import lz4.block

            if len(payload) < _LZ4_SIZE.size or _LZ4_SIZE.unpack_from(payload)[0] > largest_bytes:
                raise Unreadable("its size when expanded is more than a value may have")
            expanded: bytes = lz4.block.decompress(payload)
            return expanded
        import zstandard
    except ImportError:
        raise Unreadable("it is compressed: pip install 'holdfast[compress]'") from None
    if not 0 <= zstandard.frame_content_size(payload) <= largest_bytes:
        raise Unreadable("its size when expanded is more than a value may have")
    return zstandard.ZstdDecompressor().decompress(payload)
