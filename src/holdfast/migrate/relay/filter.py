"""The stream of commands on its way through the relay: as many bytes go out as come in, and nothing else changes. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from holdfast.codec import stream
from holdfast.errors import HoldfastError
from holdfast.migrate.relay.commands import SENTINEL_CHANNEL, Drop, Instead, Stop, TargetCommands, judge
from holdfast.migrate.relay.filler import filler

WHOLE_MAX_BYTES = 4 * 1024 * 1024
"""A command larger than this goes on in pieces, as it comes, once its name has been read."""
NAME_MAX_BYTES = 128
KEYS_KEPT = 10


@dataclass(eq=False)
class StreamStopped(HoldfastError):
    """A command came that can neither be carried nor left out."""

    offset: int
    why: str

    def __str__(self) -> str:
        return (
            f"the source's stream cannot be carried past offset {self.offset}: {self.why}; the target holds everything "
            "before it and nothing after it. Stop the migration, or start it anew to another target"
        )


class _CannotGoOn(Exception):
    """A command can neither be carried nor left out; the words say why."""


@dataclass
class _Piece:
    """A large command that is going on in pieces."""

    arguments_left: int
    bytes_left: int
    """Of the argument it is in, its line end counted."""


class StreamFilter:
    """Reads what a source sends after its RDB and writes what the target is to be sent."""

    def __init__(
        self, target: TargetCommands, offset: int, db: int, now_ms: Callable[[], int] = lambda: 0
    ) -> None:
        self.offset = offset
        """Offset behind all that `feed` has given out."""
        self.db = db
        self.losses: Counter[str] = Counter()
        self.lost_keys: dict[str, list[bytes]] = {}
        """For each loss the first keys it met."""
        self.commands = 0
        """Commands that were looked at one by one."""
        self._target = target
        self._over = target.walked_over()
        self._over_by_sentinels = target.walked_over(b"PUBLISH")
        self._plain = target.walked_over_when_plain()
        self._now_ms = now_ms
        self._rest = b""
        self._waiting: list[bytes] = []
        self._needed = 0
        """Bytes without which the unfinished command cannot be whole: it is not looked at before they are there."""
        self._piece: _Piece | None = None
        self._in_transaction = False
        self.stopped: StreamStopped | None = None
        """Why nothing behind what was given out can go on."""

    @property
    def at_command(self) -> bool:
        """Whether all that was given out ends where a command ends, outside a transaction."""
        return self._piece is None and not self._in_transaction

    def feed(self, data: bytes) -> bytes:
        """The next bytes of the stream; returns what goes on, which may lag behind by an unfinished command.

        Where a command can neither be carried nor left out, what stands before it is given out, and `stopped` is set.
        Raises: StreamCorrupt; StreamStopped when it had stopped before.
        """
        if self.stopped is not None:
            raise self.stopped
        if self._needed:
            self._waiting.append(data)
            self._needed -= len(data)
            if self._needed > 0:
                return b""
            data, self._waiting, self._needed = b"".join(self._waiting), [], 0
        buf = self._rest + data if self._rest else data
        known = self._over_by_sentinels if SENTINEL_CHANNEL in buf else self._over
        out: list[bytes] = []
        at, end = 0, len(buf)
        while at < end:
            if self._piece is not None:
                after = self._pass_piece(self._piece, buf, at)
                out.append(buf[at:after])
                at = after
                if self._piece is not None:
                    break
                continue
            over, plain = (known, self._plain) if self._carries else (_NONE, _NONE)
            after, why = stream.walk_over(buf, at, end, over, plain)
            if after > at:
                out.append(buf[at:after] if at or after < end else buf)
                at = after
            if why == stream.INCOMPLETE:
                if end - at > WHOLE_MAX_BYTES and self._carries and self._passes_by_name(buf, at):
                    self._piece = _Piece(_count(buf, at), 0)
                    after = buf.index(b"\n", at) + 1
                    out.append(buf[at:after])
                    at = after
                    continue
                if end - at > WHOLE_MAX_BYTES:
                    self._needed = _missing(buf, at)
                break
            words, after = stream.read_command(buf, at)
            try:
                out.append(self._one(words, buf[at:after]))
            except _CannotGoOn as reason:
                self.stopped = StreamStopped(self.offset + sum(map(len, out)), str(reason))
                break
            at = after
        self._rest = buf[at:]
        made = b"".join(out)
        self.offset += len(made)
        return made

    @property
    def _carries(self) -> bool:
        return self.db not in self._target.dropped_databases

    def _one(self, words: list[bytes], raw: bytes) -> bytes:
        """A command that is looked at: what goes on in its place, just as long."""
        self.commands += 1
        name = words[0].upper()
        if name == b"SELECT" and len(words) > 1:
            return self._select(words, raw)
        if name in {b"MULTI", b"EXEC"}:
            self._in_transaction = name == b"MULTI"
            return raw
        if not self._carries and name not in {b"PING", b"REPLCONF", b"FLUSHALL", b"SWAPDB"}:
            self._lose("a database that is left behind", words)
            return filler(len(raw))
        verdict = judge(words, self._target, self._now_ms())
        match verdict:
            case Drop(lost):
                if lost:
                    self._lose(lost, words)
                return filler(len(raw))
            case Instead(other, lost):
                if lost:
                    self._lose(lost, words)
                made = stream.write_command(list(other))
                if len(made) > len(raw):  # a longer word for the time left than for the time of the end
                    self._lose(f"{words[0].decode()}: no room for it in the target's words", words)
                    return filler(len(raw))
                return filler(len(raw) - len(made)) + made
            case Stop(why):
                raise _CannotGoOn(why)
        return raw

    def _select(self, words: list[bytes], raw: bytes) -> bytes:
        db = int(words[1])
        if db in self._target.dropped_databases:
            self.db = db
            return filler(len(raw))
        if db >= self._target.databases:
            # The target would log a line and write into the database selected before.
            raise _CannotGoOn(f"it writes to database {db}, and the target has {self._target.databases}")
        self.db = db
        return raw

    def _lose(self, what: str, words: list[bytes]) -> None:
        self.losses[what] += 1
        kept = self.lost_keys.setdefault(what, [])
        if len(words) > 1 and len(kept) < KEYS_KEPT and words[1] not in kept:
            kept.append(words[1][:NAME_MAX_BYTES])

    def _passes_by_name(self, buf: bytes, at: int) -> bool:
        """Whether the unfinished command there is one that needs no look."""
        name_line = buf.find(b"\r\n", at) + 2
        name_at = buf.find(b"\r\n", name_line) + 2
        length = int(buf[name_line + 1 : name_at - 2])
        return length <= NAME_MAX_BYTES and buf[name_at : name_at + length] in self._over

    def _pass_piece(self, piece: _Piece, buf: bytes, at: int) -> int:
        """How far the large command goes on in `buf`; `_piece` is None afterwards when that is all of it."""
        end = len(buf)
        while True:
            if piece.bytes_left:
                step = min(piece.bytes_left, end - at)
                piece.bytes_left -= step
                at += step
                if piece.bytes_left:
                    return at
                piece.arguments_left -= 1
            if not piece.arguments_left:
                self._piece = None
                return at
            line_end = buf.find(b"\r\n", at)
            if line_end < 0:
                if end - at > NAME_MAX_BYTES:
                    raise stream.StreamCorrupt(at, buf[at : at + 40])
                return at
            if buf[at : at + 1] != b"$" or not buf[at + 1 : line_end].isdigit():
                raise stream.StreamCorrupt(at, buf[at : at + 40])
            piece.bytes_left = int(buf[at + 1 : line_end]) + 2
            at = line_end + 2


_NONE: frozenset[bytes] = frozenset()


def _missing(buf: bytes, at: int) -> int:
    """Bytes that the unfinished command at `at` lacks at least."""
    at = buf.index(b"\n", at) + 1
    while at < len(buf):
        line_end = buf.find(b"\r\n", at)
        if line_end < 0:
            return 1
        at = line_end + 2 + int(buf[at + 1 : line_end]) + 2
    return max(1, at - len(buf))


def _count(buf: bytes, at: int) -> int:
    while buf[at : at + 1] == b"\n":
        at += 1
    return int(buf[at + 1 : buf.index(b"\r\n", at)])
