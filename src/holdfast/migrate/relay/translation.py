"""How what the source writes becomes what the target reads: asked of the servers, decided by the codec."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.codec.crc import Crc64
from holdfast.codec.rdb.dialect import VALKEY_VERSION, Dialect, dialect_of_engine
from holdfast.codec.rdb.losses import Reason
from holdfast.codec.rdb.rewrite import Rewriter, Target, rewrite
from holdfast.codec.rdb.types import FUNCTION
from holdfast.engine.connection import CommandRefused, EngineNode
from holdfast.errors import HoldfastError
from holdfast.migrate.relay.commands import Payload, TargetCommands
from holdfast.migrate.relay.doors import directives
from holdfast.migrate.relay.grammar import Release, names_beyond
from holdfast.migrate.relay.terms import Rewriting
from holdfast.migrate.seen import SeenServer

DEFAULT_DATABASES = 16


async def command_names(node: EngineNode) -> frozenset[bytes]:
    """Every command that the server lists, upper case, without subcommands."""
    try:
        listed = await node.ask("COMMAND", "LIST")
    except CommandRefused:  # before 7.0
        listed = [each[0] for each in await node.ask("COMMAND")]
    return frozenset(str(name).upper().encode() for name in listed if "|" not in str(name))


async def database_count(node: EngineNode) -> int:
    """How many databases the server has."""
    text = (await directives(node, "databases")).get("databases", "")
    return int(text) if text.isdigit() else DEFAULT_DATABASES


async def commands_of(
    node: EngineNode, accepted: Sequence[str], writer: SeenServer, reader: SeenServer
) -> TargetCommands:
    """What the server that reads understands.

    Args: `accepted`, findings agreed to: `databases` leaves behind those that it does not have.
    """
    databases = await database_count(node)
    dropped = frozenset(range(databases, 1 << 16)) if "databases" in accepted else frozenset[int]()
    return TargetCommands(
        await command_names(node),
        databases,
        dropped,
        payloads_for(dialect_of(writer), dialect_of(reader)),
        release_of(reader),
        names_beyond(release_of(writer), release_of(reader)),
    )


SLIGHT = frozenset(
    {
        Reason.FIELD_EXPIRED,
        Reason.CONSUMER_ACTIVE_TIME,
        Reason.STREAM_COUNTERS,
        Reason.STREAM_OWNERLESS,
        Reason.SLOT_IMPORT,
    }
)
"""Losses that change nothing an application reads; they are counted, and need nobody's consent."""
_STREAM_DB = b"\x0erepl-stream-db"
_WIDTHS = {b"\xc0": 1, b"\xc1": 2}
_LOOKED_AT_BYTES = 1024
"""Notes stand first in an RDB."""


class Translated:
    """Rewrites one RDB as it passes (a `Rewriting`)."""

    def __init__(self, target: Target) -> None:
        self._rewriter = Rewriter(target)
        self.stream_db = 0
        self._head = b""

    @property
    def keys(self) -> int:
        """Keys that have passed."""
        return self._rewriter.keys

    @property
    def losses(self) -> dict[str, int]:
        """What the target cannot hold, counted by what it is."""
        return {each.reason.value: each.keys for each in self._rewriter.losses.by_reason.values()}

    @property
    def grave(self) -> dict[str, int]:
        """Those that somebody has to agree to."""
        slight = {each.value for each in SLIGHT}
        return {what: count for what, count in self.losses.items() if what not in slight}

    def feed(self, data: bytes) -> bytes:
        """Translate the next bytes. Raises: errors of holdfast.codec.rdb."""
        if len(self._head) < _LOOKED_AT_BYTES:
            self._look(data)
        return self._rewriter.feed(data)

    def _look(self, data: bytes) -> None:
        """For the database that the stream begins in: a note near the RDB's beginning, as a number of one or two bytes."""
        self._head += data[: _LOOKED_AT_BYTES - len(self._head)]
        at = self._head.find(_STREAM_DB) + len(_STREAM_DB)
        if at > len(_STREAM_DB) and (width := _WIDTHS.get(self._head[at : at + 1])):
            self.stream_db = int.from_bytes(self._head[at + 1 : at + 1 + width], "little")

    def finish(self) -> bytes:
        """Say that this was all. Raises: TruncatedRdb."""
        self._rewriter.finish()
        return b""


def dialect_of(server: SeenServer) -> Dialect:
    """What the server writes, and loads."""
    return dialect_of_engine(server.engine, server.version[0], server.version[1])


def release_of(server: SeenServer) -> Release:
    """Which words of commands the server writes, and knows."""
    return Release(server.engine, server.version)


def rewriting_for(reader: Dialect, databases: int) -> Rewriting:
    """What translates any RDB into one that a server of the dialect `reader` loads."""
    return Translated(Target(reader, databases))


def payloads_for(writer: Dialect, reader: Dialect) -> Payload | None:
    """How payloads of RESTORE in the stream are translated; None where the reader takes them as they are."""
    if writer.version <= reader.version and writer.family is reader.family:
        return None
    return lambda payload: translate_payload(payload, reader)


_KEY = b"\x01k"
_FOOTER_BYTES = 10
_NO_CHECKSUM = bytes(8)
_END = b"\xff"


def translate_payload(payload: bytes, reader: Dialect) -> tuple[bytes, str] | None:
    """A payload of DUMP or of FUNCTION DUMP for another dialect, and what of the value is lost; None where that cannot hold it
    at all, or the payload is none.

    It is put through the rewriter as an RDB of one key, or of function libraries alone. Sources: createDumpPayload in
    src/cluster.c, functionDumpCommand in src/functions.c.
    """
    if len(payload) <= _FOOTER_BYTES:
        return None
    version = int.from_bytes(payload[-_FOOTER_BYTES : 2 - _FOOTER_BYTES], "little")
    magic = f"VALKEY{version:03d}" if version >= VALKEY_VERSION else f"REDIS{version:04d}"
    key = b"" if payload[0] == FUNCTION else _KEY
    whole = magic.encode() + payload[:1] + key + payload[1:-_FOOTER_BYTES] + _END + _NO_CHECKSUM
    try:
        made, losses = rewrite(whole, Target(reader))
    except HoldfastError:
        return None
    head = len(reader.header)
    if losses.is_missing or made[head + 1 : head + 1 + len(key)] != key:
        return None
    body = made[head : head + 1] + made[head + 1 + len(key) : -len(_END) - len(_NO_CHECKSUM)]
    body += reader.version.to_bytes(2, "little")
    checksum = Crc64()
    checksum.add(body, 0, len(body))
    return body + checksum.value.to_bytes(8, "little"), ", ".join(each.value for each in losses.by_reason)
