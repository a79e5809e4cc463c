"""Compares one value piece by piece with the engines' own commands: for values too big to fetch whole, and for forms that
nothing here can decode.

A value may change between two pieces; whoever calls looks again until that has settled.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from holdfast.compare.judge import Difference, Kind, Tolerance
from holdfast.compare.side import Side
from holdfast.engine.pipeline import Raw, Word, refusal

PIECE_BYTES = 1 << 20
PIECE_ENTRIES = 500


@dataclass(frozen=True)
class Both:
    """One key on two sides."""

    first: Side
    second: Side
    key: bytes
    database: int
    second_database: int
    tolerance: Tolerance

    async def ask(self, *words: Word) -> tuple[Raw, Raw]:
        """The same command, the key after its name, to both sides in turn."""
        command = (words[0], self.key, *words[1:])
        return (
            await self.first.ask(self.database, self.key, *command),
            await self.second.ask(self.second_database, self.key, *command),
        )

    async def second_all(self, commands: Sequence[Sequence[Word]]) -> list[Raw]:
        """Several commands to the second side."""
        return await self.second.ask_all(self.second_database, self.key, commands)

    async def first_all(self, commands: Sequence[Sequence[Word]]) -> list[Raw]:
        """Several commands to the first side."""
        return await self.first.ask_all(self.database, self.key, commands)


async def differ_in_pieces(both: Both) -> Difference | None:
    """What differs between the two sides' values of the key, both read in bounded pieces; None when they are the same.

    Raises: CommandRefused when the type has no commands that read it in pieces (a module's).
    """
    one, other = await both.ask("TYPE")
    if one != other:
        if b"none" in (one, other):
            kind = Kind.EXTRA if one == b"none" else Kind.MISSING
            return Difference(kind, "one side lost it while it was read")
        return Difference(Kind.TYPE, f"it is a {one.decode()} and a {other.decode()}")
    if one == b"none":
        return None
    reader = _READERS.get(one)
    if reader is None:
        return Difference(
            Kind.VALUE, f"its bytes differ, and values of type {one.decode()} cannot be read in pieces"
        )
    return await reader(both)


async def _strings(both: Both) -> Difference | None:
    one, other = await both.ask("STRLEN")
    if one != other:
        return Difference(Kind.VALUE, f"it has {one} bytes and {other}")
    for at in range(0, one, PIECE_BYTES):
        left, right = await both.ask("GETRANGE", at, at + PIECE_BYTES - 1)
        if left != right:
            return Difference(Kind.VALUE, f"its bytes from {at} on differ")
    return None


async def _lists(both: Both) -> Difference | None:
    one, other = await both.ask("LLEN")
    if one != other:
        return Difference(Kind.VALUE, f"it has {one} elements and {other}")
    for at in range(0, one, PIECE_ENTRIES):
        left, right = await both.ask("LRANGE", at, at + PIECE_ENTRIES - 1)
        if left != right:
            return Difference(Kind.VALUE, f"its elements from {at} on differ")
    return None


async def _scanned(both: Both, command: str) -> AsyncIterator[list[bytes]]:
    """The first side's entries in pieces, each entry as often as the scan shows it."""
    cursor = b"0"
    while True:
        reply = await both.first.ask(
            both.database, both.key, command, both.key, cursor, "COUNT", PIECE_ENTRIES
        )
        cursor = reply[0]
        if reply[1]:
            yield reply[1]
        if cursor == b"0":
            return


async def _sets(both: Both) -> Difference | None:
    one, other = await both.ask("SCARD")
    if one != other:
        return Difference(Kind.VALUE, f"it has {one} members and {other}")
    async for members in _scanned(both, "SSCAN"):
        found = await both.second_all([("SISMEMBER", both.key, member) for member in members])
        if any(reply != 1 for reply in found):
            return Difference(Kind.VALUE, "some of its members are not on the second side")
    return None


async def _sorted_sets(both: Both) -> Difference | None:
    one, other = await both.ask("ZCARD")
    if one != other:
        return Difference(Kind.VALUE, f"it has {one} members and {other}")
    async for pairs in _scanned(both, "ZSCAN"):
        scores = await both.second_all([("ZSCORE", both.key, member) for member in pairs[::2]])
        for score, found in zip(pairs[1::2], scores, strict=True):
            if found is None or refusal(found) or float(score) != float(found):
                return Difference(Kind.VALUE, "members are missing on the second side or have other scores")
    return None


async def _hashes(both: Both) -> Difference | None:
    one, other = await both.ask("HLEN")
    if one != other:
        return Difference(Kind.VALUE, f"it has {one} fields and {other}")
    async for pairs in _scanned(both, "HSCAN"):
        fields = pairs[::2]
        (values,) = await both.second_all([("HMGET", both.key, *fields)])
        if values != pairs[1::2]:
            return Difference(Kind.VALUE, "fields are missing on the second side or have other values")
        if not both.tolerance.any_field_ttl and (apart := await _field_ttls(both, fields)) is not None:
            return apart
    return None


async def _field_ttls(both: Both, fields: Sequence[bytes]) -> Difference | None:
    command: tuple[Word, ...] = ("HPEXPIRETIME", both.key, "FIELDS", len(fields), *fields)
    none = [-1] * len(fields)
    left = (await both.first_all([command]))[0] if both.first.tells_field_ttl else none
    right = (await both.second_all([command]))[0] if both.second.tells_field_ttl else none
    if refusal(left) or refusal(right):  # another type by now, or gone: the next look says so
        return Difference(Kind.VALUE, "it changed while it was read")
    apart = sum(
        (one < 0) != (other < 0) or (one >= 0 and abs(one - other) > both.tolerance.ttl_ms)
        for one, other in zip(left or none, right or none, strict=True)
    )
    return (
        Difference(Kind.FIELD_TTL, f"{apart} of its fields expire at another time or never")
        if apart
        else None
    )


async def _streams(both: Both) -> Difference | None:
    one, other = await both.ask("XLEN")
    if one != other:
        return Difference(Kind.VALUE, f"it has {one} entries and {other}")
    start = b"-"
    while True:
        left, right = await both.ask("XRANGE", start, "+", "COUNT", PIECE_ENTRIES)
        if left != right:
            return Difference(Kind.VALUE, "its entries differ")
        if len(left) < PIECE_ENTRIES:
            break
        start = _after(left[-1][0])
    facts, other_facts = (_facts(each) for each in await _info(both, "STREAM"))
    for name in (b"last-generated-id", b"max-deleted-entry-id", b"entries-added"):
        if name in facts and name in other_facts and facts[name] != other_facts[name]:
            return Difference(Kind.VALUE, f"its {name.decode()} differs")
    return await _groups(both)


async def _info(both: Both, about: str) -> tuple[Raw, Raw]:
    (one,) = await both.first_all([("XINFO", about, both.key)])
    (other,) = await both.second_all([("XINFO", about, both.key)])
    return ([] if refusal(one) else one), ([] if refusal(other) else other)


async def _groups(both: Both) -> Difference | None:
    one, other = await _info(both, "GROUPS")
    left = {facts[b"name"]: facts for each in one if (facts := _facts(each))}
    right = {facts[b"name"]: facts for each in other if (facts := _facts(each))}
    if left.keys() != right.keys():
        return Difference(Kind.GROUPS, f"it has {len(left)} consumer groups and {len(right)}, or others")
    for name, facts in left.items():
        for what in (b"last-delivered-id", b"pending", b"entries-read"):
            if what in facts and what in right[name] and facts[what] != right[name][what]:
                return Difference(Kind.GROUPS, f"{what.decode()} of a consumer group differs")
        if (apart := await _consumers(both, name)) is not None:
            return apart
    return None


async def _consumers(both: Both, group: bytes) -> Difference | None:
    named: list[set[bytes]] = []
    for ask in (both.first_all, both.second_all):
        (reply,) = await ask([("XINFO", "CONSUMERS", both.key, group)])
        named.append(set() if refusal(reply) else {_facts(each)[b"name"] for each in reply})
    if named[0] != named[1]:
        return Difference(Kind.GROUPS, "a consumer group has other consumers")
    start = b"-"
    while True:
        command = ("XPENDING", both.key, group, start, "+", PIECE_ENTRIES)
        left = (await both.first_all([command]))[0]
        right = (await both.second_all([command]))[0]
        if (
            refusal(left)
            or refusal(right)
            or [_owed(each) for each in left] != [_owed(each) for each in right]
        ):
            return Difference(Kind.GROUPS, "pending entries of a consumer group differ")
        # Both sides were asked one after the other: what is idle grows meanwhile, by less than the bound of one command.
        if any(abs(a[2] - b[2]) > both.tolerance.delivery_ms for a, b in zip(left, right, strict=True)):
            return Difference(
                Kind.GROUPS, "pending entries of a consumer group were delivered at another time"
            )
        if len(left) < PIECE_ENTRIES:
            return None
        start = _after(left[-1][0])


def _owed(entry: Raw) -> tuple[bytes, bytes, int]:
    """Which entry is owed, by whom, and how often it was delivered."""
    return entry[0], entry[1], entry[3]


def _facts(flat: Raw) -> dict[bytes, Raw]:
    return dict(zip(flat[::2], flat[1::2], strict=False))


def _after(entry: bytes) -> bytes:
    """The smallest id after that one."""
    ms, _, seq = entry.partition(b"-")
    return b"%b-%d" % (ms, int(seq) + 1) if int(seq) < 2**64 - 1 else b"%d-0" % (int(ms) + 1)


_READERS = {
    b"string": _strings,
    b"list": _lists,
    b"set": _sets,
    b"zset": _sorted_sets,
    b"hash": _hashes,
    b"stream": _streams,
}
