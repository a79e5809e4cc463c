"""The rewriter: one dialect's RDB in, another's out, as it passes and in bounded memory, with a report of what that lost.

rewriter = Rewriter(Target(dialect_named("valkey-8.1")))
while not rewriter.is_finished:
    send(rewriter.feed(receive()))
print(rewriter.losses, rewriter.rest())
"""

from __future__ import annotations

from dataclasses import dataclass, field

from holdfast.codec.rdb import stops, types
from holdfast.codec.rdb.convert import conversion, keep_modules
from holdfast.codec.rdb.cursor import Cursor
from holdfast.codec.rdb.dialect import Dialect
from holdfast.codec.rdb.functions import can_load
from holdfast.codec.rdb.losses import LossReport, Reason
from holdfast.codec.rdb.scan import Scanner
from holdfast.codec.rdb.sink import Sink
from holdfast.codec.rdb.task import Bounds, GivenUp, Task
from holdfast.codec.rdb.translate import Fate, Part, Rule, translate, translate_parts

_NEED = stops.NEED
_KEY = stops.KEY
_VALUE_END = stops.VALUE_END
_MODULE = types.MODULE
_CARRY, _CONVERT, _LOSE = range(3)
_FATES = {Fate.CARRY: _CARRY, Fate.CONVERT: _CONVERT, Fate.LOSE: _LOSE}
_FOOTER_BYTES = 8


@dataclass(frozen=True)
class Target:
    """Who is to load what is written."""

    dialect: Dialect
    databases: int | None = None
    """How many it has: one that is told of another ends itself. None when that is not known."""
    modules: frozenset[str] = frozenset()
    """Names (nine characters) of the module types it has."""
    bounds: Bounds = field(default_factory=Bounds)


class Rewriter:
    """Feed it all bytes of an RDB; it gives those of the target's. After an error it cannot go on, and what it gave so far
    has no end: no engine takes it for a whole RDB.

    Args: `total`, bytes of the input where that is known, else -1.
    """

    def __init__(self, target: Target, total: int = -1) -> None:
        self.target = target
        self.losses = LossReport()
        self.keys = 0
        self.keys_lost = 0
        self.keys_converted = 0
        self.is_finished = False
        self.bytes_in = 0
        self.bytes_out = 0
        self.scan = Scanner(total)
        self._databases = target.databases if target.databases is not None else 1 << 31
        self._sink = Sink()
        self._fate = [_LOSE] * 256
        self._rules: dict[int, Rule] = {}
        self._parts: dict[Part, Rule] = {}
        self._tasks: dict[int, Task] = {}
        self._is_valkey = False
        self._mode = _CARRY
        self._is_outside = False
        self._task: Task | None = None
        self._often: Reason | None = None
        self._often_keys = 0
        self._often_parts = 0

    @property
    def source(self) -> Dialect | None:
        """The dialect of what is fed, once its header has come."""
        dialect: Dialect | None = self.scan.dialect
        return dialect

    def feed(self, data: bytes) -> bytes:
        """The bytes to send on for these; none of what follows the end.

        Raises: what `Scanner.step` raises, and CorruptRdb or TooLong for a value that must be rewritten and cannot be.
        """
        self.bytes_in += len(data)
        self.scan.feed(data)
        if self.is_finished:
            return b""
        try:
            self._run()
        finally:
            self._enter()
        written = self._sink.take()
        self.bytes_out += len(written)
        return written

    def finish(self) -> None:
        """Say that no more bytes come. Raises: TruncatedRdb when the RDB has not ended."""
        self.scan.finish()

    def rest(self) -> bytes:
        """What was fed behind the RDB's end: a mark, a stream of commands, or nothing."""
        return self.scan.rest()

    def _run(self) -> None:
        scan = self.scan
        start = scan.at
        while True:
            stop = scan.step()
            if stop == _VALUE_END:
                if self._mode != _CARRY:
                    self._end_value(start)
                    start = scan.at
                continue
            if stop == _KEY:
                self.keys += 1
                self._mode = self._fate[scan.type]
                if self._mode == _CARRY and not self._is_outside and scan.meta_at < 0:
                    continue
                self._emit(start, scan.record_at)
                start = self._begin_value()
                continue
            if stop == _NEED:
                if self._mode == _CARRY:
                    self._emit(start, scan.at)
                elif self._mode == _CONVERT:
                    self._convert(start, False)
                return
            start = self._other(stop, start)
            if stop == stops.END:
                return

    def _emit(self, start: int, end: int) -> None:
        """Send on a stretch of the input as it is."""
        if end > start:
            self._sink.span(self.scan.buf, start, end)

    def _begin_value(self) -> int:
        """A key that is not simply carried; returns from where on the input is to be dealt with."""
        scan = self.scan
        if self._is_outside:
            self._lose_key(Reason.DATABASE)
            return scan.at
        keeps_meta = True
        if scan.meta_at >= 0:
            keeps_meta = self._parts[Part.KEY_META].fate is not Fate.LOSE
            if not keeps_meta:
                self._name(Reason.KEY_META)
        if self._mode == _CARRY:
            if keeps_meta:
                return scan.record_at
            self._emit(scan.record_at, scan.meta_at)
            return scan.meta_end
        if self._mode == _LOSE and not (scan.type == _MODULE and self.target.modules):
            self._lose_key(self._rules[scan.type].reasons[0])
            return scan.at
        self._mode = _CONVERT
        self._task = self._task_for(scan.type)
        self._task.begin_record(scan, keeps_meta)
        return scan.at

    def _task_for(self, number: int) -> Task:
        task = self._tasks.get(number)
        if task is None:
            if number == types.MODULE:
                make = keep_modules(self.target.modules, Reason.MODULE_KEY, types.MODULE)
            else:
                make = conversion(number, self._rules[number], self._is_valkey)
            task = self._tasks[number] = make(self._sink, self.target.bounds)
        return task

    def _lose_key(self, reason: Reason) -> None:
        self._mode = _LOSE
        self.keys_lost += 1
        self._name(reason)

    def _name(self, reason: Reason) -> None:
        """Count the key that the scanner is at; its name is only made where it will be kept."""
        loss = self.losses.count(reason)
        if loss.wants_samples:
            loss.name(self.scan.db, self.scan.key_name())

    def _convert(self, start: int, is_last: bool) -> None:
        """Go on with the conversion at hand, up to where the scanner stands. `is_last`: the value ends there."""
        task = self._task
        if task is None:
            return
        try:
            task.feed(self.scan.buf, start, self.scan.at, is_last)
        except GivenUp:
            self._task = None
            self._mode = _LOSE
            if task.has_key:
                self.keys_lost += 1
            self._count(task)

    def _end_value(self, start: int) -> None:
        if self._mode == _CONVERT:
            self._convert(start, True)
            task = self._task
            if task is not None:
                if task.has_key:
                    self.keys_converted += 1
                if task.lost:
                    self._count(task)
        self._task = None
        self._mode = _CARRY

    def _count(self, task: Task) -> None:
        for reason, parts in task.lost:
            if reason is self._often:
                self._often_keys += 1
                self._often_parts += parts
                continue
            loss = self.losses.count(reason, parts)
            if task.has_key and loss.wants_samples:
                loss.name(task.db, task.key_name())
            elif self._often is None:
                self._often = reason

    def _enter(self) -> None:
        """Enter what was counted aside: a loss that every key may have, and of which enough are named."""
        if self._often is not None and self._often_keys > 0:
            self.losses.count(self._often, self._often_parts, self._often_keys)
        self._often_keys = 0
        self._often_parts = 0

    def _other(self, stop: int, start: int) -> int:
        """A stop that is no key; returns from where on the input is to be dealt with."""
        scan = self.scan
        if stop == stops.HEADER:
            self._meet()
            self._sink.write(self.target.dialect.header)
            return scan.at
        if stop == stops.END:
            self._finish(start)
            return scan.at
        if stop == stops.SELECT:
            self._is_outside = scan.db >= self._databases
        if stop == stops.MODULE_AUX:
            self._emit(start, scan.record_at)
            self._mode = _CONVERT
            make = keep_modules(self.target.modules, Reason.MODULE_DATA, types.MODULE_AUX)
            self._task = make(self._sink, self.target.bounds)
            self._task.begin(scan.db, None, scan.value_offset)
            return scan.at
        if self._is_kept(stop):
            return start
        self._emit(start, scan.record_at)
        return scan.at

    def _is_kept(self, stop: int) -> bool:
        """Whether a record that is no key goes over as it is; counted when it does not and someone may miss it."""
        if stop in (stops.SELECT, stops.RESIZE):
            return not self._is_outside
        if stop == stops.AUX:
            return self.target.dialect.version >= 7
        part = {
            stops.FUNCTION: Part.FUNCTION,
            stops.SLOT_INFO: Part.SLOT_INFO,
            stops.SLOT_IMPORT: Part.SLOT_IMPORT,
        }[stop]
        rule = self._parts[part]
        library = b""
        if stop == stops.FUNCTION:
            library = Cursor(self.scan.buf, self.scan.body_at, self.scan.end).string()
        reasons = rule.reasons
        if rule.fate is Fate.CARRY:
            if stop != stops.FUNCTION or can_load(library, self.target.dialect):
                return True
            reasons = (Reason.FUNCTION_FOREIGN,)
        for reason in reasons:
            self.losses.count(reason).name(self.scan.db, library.partition(b"\n")[0] or None)
        return False

    def _meet(self) -> None:
        """Lay out the table, now that the source's dialect is known."""
        source = self.scan.dialect
        if source is None:
            return
        self._is_valkey = source.has_valkey_numbers
        self._rules = translate(source, self.target.dialect)
        self._parts = translate_parts(source, self.target.dialect)
        for number, rule in self._rules.items():
            self._fate[number] = _FATES[rule.fate]
        for number in range(types.HASH_TTL_RC):
            if number not in self._rules:  # a file that says an older version than what it holds
                self._fate[number] = _CARRY if number in self.target.dialect.loads else _LOSE
                self._rules[number] = Rule(Fate.LOSE, (), (Reason.UNSUPPORTED_TYPE,))

    def _finish(self, start: int) -> None:
        """Everything was read and the source's checksum is right: close the target's RDB with its own."""
        scan = self.scan
        closed = scan.at - (_FOOTER_BYTES if scan.has_footer() else 0)
        self._emit(start, closed)
        self._sink.low_first(self._sink.crc())
        self.is_finished = True


def rewrite(data: bytes, target: Target) -> tuple[bytes, LossReport]:
    """A whole RDB that lies in memory. Raises: as `Rewriter.feed`, and TruncatedRdb at its end."""
    rewriter = Rewriter(target, total=len(data))
    written = rewriter.feed(data)
    rewriter.finish()
    return written, rewriter.losses
