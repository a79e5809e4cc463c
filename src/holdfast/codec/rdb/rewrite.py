"""The rewriter: one dialect's RDB in, another's out, as it passes and in bounded memory, with a report of what that lost.

rewriter = Rewriter(Target(dialect_named("valkey-8.1")))
while not rewriter.is_finished:
    send(rewriter.feed(receive()))
print(rewriter.losses, rewriter.rest())
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from holdfast.codec.crc import Crc64
from holdfast.codec.rdb import stops, types
from holdfast.codec.rdb.convert import conversion, keep_modules
from holdfast.codec.rdb.cursor import Cursor
from holdfast.codec.rdb.dialect import Dialect
from holdfast.codec.rdb.errors import CorruptRdb
from holdfast.codec.rdb.losses import LossReport, Reason
from holdfast.codec.rdb.scan import Scanner
from holdfast.codec.rdb.task import Bounds, GivenUp, Head, Steps, Task
from holdfast.codec.rdb.translate import Fate, Part, Rule, translate, translate_parts

_NEED = stops.NEED
_KEY = stops.KEY
_VALUE_END = stops.VALUE_END
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
        self._out: list[bytes] = []
        self._crc = Crc64()
        self._fate = [_LOSE] * 256
        self._rules: dict[int, Rule] = {}
        self._parts: dict[Part, Rule] = {}
        self._conversions: dict[int, Callable[[Task], Steps]] = {}
        self._is_valkey = False
        self._mode = _CARRY
        self._is_outside = False
        self._task: Task | None = None
        self._steps: Steps | None = None

    @property
    def source(self) -> Dialect | None:
        """The dialect of what is fed, once its header has come."""
        dialect: Dialect | None = self.scan.dialect
        return dialect

    def feed(self, data: bytes) -> bytes:
        """The bytes to send on for these.

        Raises: what `Scanner.step` raises, and CorruptRdb or TooLong for a value that must be rewritten and cannot be.
        """
        self.bytes_in += len(data)
        self.scan.feed(data)
        self._run()
        written = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out = []
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
                    self._convert(scan.buf[start : scan.at], False)
                return
            start = self._other(stop, start)
            if stop == stops.END:
                return

    def _emit(self, start: int, end: int) -> None:
        """Send on a stretch of the input as it is."""
        if end > start:
            scan = self.scan
            self._crc.add(scan.buf, start, end)
            self._out.append(scan.buf[start:end])

    def _write(self, data: bytes) -> None:
        self._crc.add(data, 0, len(data))
        self._out.append(data)

    def _begin_value(self) -> int:
        """A key that is not simply carried; returns from where on the input is to be dealt with."""
        scan = self.scan
        if self._is_outside:
            self._lose_key(Reason.DATABASE)
            return scan.at
        head_end = scan.value_at
        prefix_end = scan.key_at - 1
        prefix = scan.buf[scan.record_at : prefix_end]
        if scan.meta_at >= 0 and self._parts[Part.KEY_META].fate is Fate.LOSE:
            prefix = scan.buf[scan.record_at : scan.meta_at] + scan.buf[scan.meta_end : prefix_end]
            self.losses.count(Reason.KEY_META, scan.db, scan.key_name())
        if self._mode == _CARRY:
            self._write(prefix + scan.buf[prefix_end:head_end])
            return head_end
        if scan.type == types.MODULE and self.target.modules:
            self._mode = _CONVERT
        if self._mode == _LOSE:
            self._lose_key(self._rules[scan.type].reasons[0])
            return scan.at
        head = Head(scan.db, scan.key_name(), prefix, scan.buf[scan.key_at : head_end])
        self._begin_task(head, self._conversion(scan.type))
        return scan.at

    def _conversion(self, number: int) -> Callable[[Task], Steps]:
        known = self._conversions.get(number)
        if known is None:
            if number == types.MODULE:
                known = keep_modules(self.target.modules, Reason.MODULE_KEY, types.MODULE)
            else:
                known = conversion(number, self._rules[number], self._is_valkey)
            self._conversions[number] = known
        return known

    def _begin_task(self, head: Head, begin: Callable[[Task], Steps]) -> None:
        task = Task(head, self.target.bounds)
        task.cursor.base = self.scan.value_offset
        self._task = task
        self._steps = begin(task)

    def _lose_key(self, reason: Reason) -> None:
        self._mode = _LOSE
        self.keys_lost += 1
        self.losses.count(reason, self.scan.db, self.scan.key_name())

    def _convert(self, data: bytes, is_last: bool) -> None:
        """Go on with the conversion at hand. `is_last`: the value ends with `data`."""
        task, steps = self._task, self._steps
        if task is None:
            return
        if steps is None:  # it has all it wanted to read
            self._write(data)
            return
        if not task.feed(data, is_last):
            return
        try:
            next(steps)
        except StopIteration:
            self._steps = None
            task.out.append(task.take_rest())
        except GivenUp:
            self._task = None
            self._mode = _LOSE
            if task.head.key is not None:
                self.keys_lost += 1
            self._count(task)
            return
        self._write(b"".join(task.out))
        task.out.clear()

    def _end_value(self, start: int) -> None:
        if self._mode == _CONVERT:
            self._convert(self.scan.buf[start : self.scan.at], True)
            task = self._task
            if task is not None:
                if self._steps is not None:
                    raise CorruptRdb(
                        self.scan.base + self.scan.at, task.head.key, "more of a value", "its end"
                    )
                if task.head.key is not None:
                    self.keys_converted += 1
                self._count(task)
        self._task = None
        self._steps = None
        self._mode = _CARRY

    def _count(self, task: Task) -> None:
        for reason, parts in task.lost:
            self.losses.count(reason, task.head.db, task.head.key, parts)

    def _other(self, stop: int, start: int) -> int:
        """A stop that is no key; returns from where on the input is to be dealt with."""
        scan = self.scan
        if stop == stops.HEADER:
            self._meet()
            self._write(self.target.dialect.header)
            return scan.at
        if stop == stops.END:
            self._finish(start)
            return scan.at
        if stop == stops.SELECT:
            self._is_outside = scan.db >= self._databases
        if stop == stops.MODULE_AUX:
            self._emit(start, scan.record_at)
            self._mode = _CONVERT
            head = Head(scan.db, None, b"", b"")
            self._begin_task(head, keep_modules(self.target.modules, Reason.MODULE_DATA, types.MODULE_AUX))
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
        if rule.fate is Fate.CARRY:
            return True
        for reason in rule.reasons:
            self.losses.count(reason, self.scan.db, self._label(stop))
        return False

    def _label(self, stop: int) -> bytes | None:
        """What to name a lost function library by: its first line."""
        if stop != stops.FUNCTION:
            return None
        return Cursor(self.scan.buf, self.scan.body_at, self.scan.end).string().partition(b"\n")[0]

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
        self._out.append(self._crc.value.to_bytes(8, "little"))
        self.is_finished = True


def rewrite(data: bytes, target: Target) -> tuple[bytes, LossReport]:
    """A whole RDB that lies in memory. Raises: as `Rewriter.feed`, and TruncatedRdb at its end."""
    rewriter = Rewriter(target, total=len(data))
    written = rewriter.feed(data)
    rewriter.finish()
    return written, rewriter.losses
