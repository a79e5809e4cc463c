"""DUMP payloads: the bytes that RESTORE takes, for one key, with the version and the CRC that the target expects.

payload = type, value, two bytes of RDB version (lowest first), eight bytes of CRC-64 over all before them
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.codec.crc import crc64
from holdfast.codec.rdb import types
from holdfast.codec.rdb.convert import conversion, keep_modules
from holdfast.codec.rdb.dialect import VALKEY_VERSION, Dialect, Family, dialect_of_header
from holdfast.codec.rdb.errors import UnknownRdbVersion, WrongDumpPayload
from holdfast.codec.rdb.losses import Reason
from holdfast.codec.rdb.rewrite import Target
from holdfast.codec.rdb.sink import Sink
from holdfast.codec.rdb.task import GivenUp
from holdfast.codec.rdb.translate import Fate, Rule, translate
from holdfast.codec.rdb.walk import measure

_FOOTER_BYTES = 10
_VERSION_BYTES = 2


@dataclass(frozen=True, slots=True)
class Dumped:
    """What a payload holds."""

    type: int
    body: bytes
    dialect: Dialect


@dataclass(frozen=True, slots=True)
class Translated:
    """A value in the target's form, or None where it is lost, and what that takes away: (reason, parts)."""

    payload: bytes | None
    lost: tuple[tuple[Reason, int], ...] = ()


def read_dump(payload: bytes) -> Dumped:
    """Take a payload apart. A module's note before the value (Redis 8.6) is left out.

    Raises: WrongDumpPayload when it is too short, of an unknown version, has a wrong CRC or holds more than a value.
    """
    body_end = len(payload) - _FOOTER_BYTES
    if body_end < 2:
        raise WrongDumpPayload(f"it has {len(payload)} bytes")
    signed_end = body_end + _VERSION_BYTES
    if crc64(payload[:signed_end]) != int.from_bytes(payload[signed_end:], "little"):
        raise WrongDumpPayload("its CRC is not that of its bytes")
    dialect = _dialect(int.from_bytes(payload[body_end:signed_end], "little"))
    at = 0
    if payload[0] == types.KEY_META and dialect.has_key_meta:
        at = 1 + measure(None, payload[1:body_end], dialect)
    if at >= body_end:
        raise WrongDumpPayload("it ends before its value")
    number, body = payload[at], payload[at + 1 : body_end]
    if measure(number, body, dialect) != len(body):
        raise WrongDumpPayload("it holds more than a value")
    return Dumped(number, body, dialect)


def write_dump(type: int, body: bytes, dialect: Dialect) -> bytes:
    """A payload for RESTORE on an engine of `dialect`. Args: `type`, as that dialect means it."""
    signed = bytes((type,)) + body + dialect.version.to_bytes(2, "little")
    return signed + crc64(signed).to_bytes(8, "little")


class DumpTranslator:
    """Makes payloads for one target from keys of one source, by the same table and conversions as the rewriter."""

    def __init__(self, source: Dialect, target: Target) -> None:
        self.source = source
        self.target = target
        self._rules = translate(source, target.dialect)

    def value(self, db: int, key: bytes, type: int, body: bytes) -> Translated:
        """The payload for a key's value as it stands in the source's RDB.

        Raises: CorruptRdb and TooLong for a value that must be rewritten and cannot be.
        """
        rule = self._rules.get(type, Rule(Fate.LOSE, (), (Reason.UNSUPPORTED_TYPE,)))
        if rule.fate is Fate.CARRY:
            return Translated(write_dump(type, body, self.target.dialect))
        if type == types.MODULE and self.target.modules:
            make = keep_modules(self.target.modules, Reason.MODULE_KEY, types.MODULE)
        elif rule.fate is Fate.LOSE:
            return Translated(None, ((rule.reasons[0], 1),))
        else:
            make = conversion(type, rule, self.source.has_valkey_numbers)
        sink = Sink()
        task = make(sink, self.target.bounds)
        task.begin(db, key, 0)
        try:
            task.feed(body, 0, len(body), True)
        except GivenUp:
            return Translated(None, tuple(task.lost))
        converted = sink.take()
        return Translated(write_dump(converted[0], converted[1:], self.target.dialect), tuple(task.lost))

    def payload(self, db: int, key: bytes, payload: bytes) -> Translated:
        """The same for a payload that the source's DUMP gave. Raises: also WrongDumpPayload."""
        dumped = read_dump(payload)
        return self.value(db, key, dumped.type, dumped.body)


def _dialect(version: int) -> Dialect:
    try:
        if version == VALKEY_VERSION:
            return Dialect("valkey-9.0", Family.VALKEY, VALKEY_VERSION)
        return dialect_of_header(b"REDIS%04d" % version)
    except UnknownRdbVersion:
        raise WrongDumpPayload(f"its RDB version, {version}, is unknown") from None
