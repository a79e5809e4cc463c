"""What one dialect makes of another: a pure table that says for every type whether it is carried, converted or lost."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from holdfast.codec.rdb import types
from holdfast.codec.rdb.dialect import Dialect
from holdfast.codec.rdb.losses import Reason


class Fate(enum.StrEnum):
    """What happens to values of one type."""

    CARRY = "carry"
    """Their bytes go over as they are."""
    CONVERT = "convert"
    """They are written anew in a form that the target loads."""
    LOSE = "lose"
    """They do not go over."""


@dataclass(frozen=True)
class Rule:
    """The fate of one type."""

    fate: Fate
    to: tuple[int, ...]
    """The types it may have afterwards; empty when it is lost."""
    reasons: tuple[Reason, ...] = ()
    """What is or may be lost or changed."""


STREAMS = (types.STREAM, types.STREAM_2, types.STREAM_3, types.STREAM_4, types.STREAM_5)
"""Each has all of the one before, and something more."""
REDIS_FIELD_TTL = (types.HASH_TTL_RC, types.HASH_LISTPACK_TTL_RC, types.HASH_TTL, types.HASH_LISTPACK_TTL)
_PLAIN_FORM = {
    types.HASH_LISTPACK: types.HASH,
    types.ZSET_LISTPACK: types.ZSET_2,
    types.SET_LISTPACK: types.SET,
    types.LIST_QUICKLIST_2: types.LIST_QUICKLIST,
}
"""Forms made of listpacks -> the older form that has the same content."""
_STREAM_LOSSES = (
    (types.STREAM, types.STREAM_2, Reason.STREAM_COUNTERS),
    (types.STREAM_2, types.STREAM_3, Reason.CONSUMER_ACTIVE_TIME),
    (types.STREAM_3, types.STREAM_4, Reason.STREAM_PRODUCERS),
    (types.STREAM_4, types.STREAM_5, Reason.STREAM_OWNERLESS),
)


def translate(source: Dialect, target: Dialect) -> dict[int, Rule]:
    """The fate of every type that `source` can hold, when an engine of `target` is to load it.

    A key of a module is always listed as lost: that the target has the module is known only of servers, not of dialects
    (`Rewriter` takes the modules that a target has).
    """
    return {number: _rule(number, source, target) for number in sorted(source.loads)}


def _rule(number: int, source: Dialect, target: Dialect) -> Rule:
    if number == types.MODULE:
        return Rule(Fate.LOSE, (), (Reason.MODULE_KEY,))
    shared = number < types.HASH_TTL_RC or source.has_valkey_numbers == target.has_valkey_numbers
    if shared and number in target.loads:
        return Rule(Fate.CARRY, (number,))
    if source.has_valkey_numbers and number == types.VALKEY_HASH_TTL:
        return _hash_rule(target, (types.HASH_TTL,))
    if not source.has_valkey_numbers and number in REDIS_FIELD_TTL:
        return _hash_rule(target, (types.VALKEY_HASH_TTL, types.HASH))
    if number in STREAMS:
        best = max(set(STREAMS) & target.loads, default=None)
        if best is not None:
            return Rule(Fate.CONVERT, (best,), _stream_losses(number, best))
    plain = _PLAIN_FORM.get(number)
    if plain is not None and plain in target.loads:
        return Rule(Fate.CONVERT, (plain,))
    return Rule(Fate.LOSE, (), (Reason.ARRAY if number == types.ARRAY else Reason.UNSUPPORTED_TYPE,))


def _hash_rule(target: Dialect, forms: tuple[int, ...]) -> Rule:
    if target.has_field_ttl:
        return Rule(Fate.CONVERT, forms)
    return Rule(Fate.CONVERT, (types.HASH,), (Reason.FIELD_TTL,))


def _stream_losses(number: int, to: int) -> tuple[Reason, ...]:
    return tuple(reason for below, above, reason in _STREAM_LOSSES if to <= below and above <= number)


class Part(enum.StrEnum):
    """What an RDB holds beside keys."""

    FUNCTION = "function"
    MODULE_DATA = "module-data"
    KEY_META = "key-meta"
    SLOT_INFO = "slot-info"
    SLOT_IMPORT = "slot-import"


def translate_parts(source: Dialect, target: Dialect) -> dict[Part, Rule]:
    """The same for what is no key. Lost without a reason: a hint, of which nobody misses anything."""
    carried = Rule(Fate.CARRY, ())
    has_numbers = source.has_valkey_numbers == target.has_valkey_numbers
    return {
        Part.FUNCTION: carried if target.has_functions else Rule(Fate.LOSE, (), (Reason.FUNCTION,)),
        Part.MODULE_DATA: Rule(Fate.LOSE, (), (Reason.MODULE_DATA,)),
        Part.SLOT_INFO: carried if target.has_slot_info else Rule(Fate.LOSE, ()),
        Part.KEY_META: carried
        if target.has_key_meta and has_numbers
        else Rule(Fate.LOSE, (), (Reason.KEY_META,)),
        Part.SLOT_IMPORT: carried
        if target.has_valkey_numbers and has_numbers
        else Rule(Fate.LOSE, (), (Reason.SLOT_IMPORT,)),
    }
