"""Looks at keys on both sides and says of each what differs: bytes first, decoded values or pieces where bytes do not tell."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from holdfast.compare.content import decoded_difference
from holdfast.compare.judge import (
    FOOTER_BYTES,
    Difference,
    Kind,
    Look,
    Tolerance,
    Verdict,
    judge,
    ttl_difference,
)
from holdfast.compare.looks import (
    Measured,
    Unread,
    are_there,
    in_groups,
    large_at,
    look_at,
    looks,
    measure,
    strings_of,
    texts,
)
from holdfast.compare.pieces import Both, differ_in_pieces
from holdfast.compare.report import Report
from holdfast.compare.settle import Glance
from holdfast.compare.side import Side
from holdfast.engine.pipeline import refusal

BURST = 40
_NOT_READ = Difference(Kind.VALUE, "one side could not be read just then")


@dataclass
class Checker:
    """Both sides and what counts as the same."""

    first: Side
    second: Side
    tolerance: Tolerance
    databases: Mapping[int, int]
    """Database of the first side -> that of the second."""
    report: Report
    _mixed: bool = False
    """Whether most large values of the last group were no strings: then their types are asked for, else they are taken for
    strings, and what is none says so."""

    async def batch(self, database: int, keys: Sequence[bytes]) -> list[bytes]:
        """Compare those keys; the ones that are not the same at this moment come back."""
        first, second, other_database = self.first, self.second, self.databases[database]
        one, other = await asyncio.gather(
            measure(first, database, keys), measure(second, other_database, keys)
        )
        differ: list[bytes] = []
        for group in in_groups(one, other, max(first.big_bytes, second.big_bytes)):
            places: Sequence[int] = group
            large = large_at((one, other), group, first.big_bytes)
            as_they_are = large
            if large and self._mixed:
                as_they_are = await strings_of(first, database, keys, large)
            if as_they_are:
                apart, others = await self._texts(database, keys, (one, other), as_they_are)
                differ += apart
                places = sorted(set(group) - set(as_they_are) | set(others))
                as_they_are = [at for at in as_they_are if at not in others]
            if large:
                self._mixed = 2 * len(as_they_are) < len(large)
            ours, theirs = await asyncio.gather(
                looks(first, database, keys, one, places), looks(second, other_database, keys, other, places)
            )
            differ += await self._compared(database, [keys[at] for at in places], ours, theirs)
        return differ

    async def _texts(
        self, database: int, keys: Sequence[bytes], told: tuple[Measured, Measured], places: Sequence[int]
    ) -> tuple[list[bytes], set[int]]:
        """Compare the strings at `places`.

        Returns: the keys that are not the same, which are looked at again as other keys are, and the places of what is no string.
        """
        ours, theirs = await asyncio.gather(
            texts(self.first, database, keys, places),
            texts(self.second, self.databases[database], keys, places),
        )
        one, other = told
        differ: list[bytes] = []
        others: set[int] = set()
        same = read = 0
        for at in places:
            text = ours[at]
            if type(text) is not bytes and refusal(text).startswith("WRONGTYPE"):
                others.add(at)
            elif (
                type(text) is bytes
                and text == theirs[at]
                and (one.ends[at] == other.ends[at] or self._same_end(one, other, at))
            ):
                same += 1
                read += len(text)
            else:
                differ.append(keys[at])
        self.report.same += same
        self.report.bytes_read += read
        return differ, others

    def _same_end(self, one: Measured, other: Measured, at: int) -> bool:
        ours, theirs = (
            Look(True, None, each.ends[at] if each.ends[at] >= 0 else None, each.margin_ms)
            for each in (one, other)
        )
        return ttl_difference(ours, theirs, self.tolerance) is None

    async def _compared(
        self,
        database: int,
        keys: Sequence[bytes],
        ours: Sequence[Look | Unread],
        theirs: Sequence[Look | Unread],
    ) -> list[bytes]:
        """Those of the keys whose looks are not the same."""
        report = self.report
        same = read = 0
        differ: list[bytes] = []
        for key, one, other in zip(keys, ours, theirs, strict=True):
            if type(one) is Unread or type(other) is Unread:
                differ.append(key)
                continue
            assert type(one) is Look
            assert type(other) is Look
            dump, other_dump = one.dump, other.dump
            # What nearly every key comes down to, without a further call: the same bytes and the same end.
            if (
                dump is not None
                and other_dump is not None
                and one.expires_ms == other.expires_ms
                and dump[:-FOOTER_BYTES] == other_dump[:-FOOTER_BYTES]
            ):
                same += 1
                read += len(dump)
                continue
            if await self._difference(database, key, one, other) is None:
                same += 1
            else:
                differ.append(key)
            read += len(dump or b"")
        report.same += same
        report.bytes_read += read
        return differ

    async def missing(self, database: int, keys: Sequence[bytes]) -> list[bytes]:
        """Those of the second side's keys that the first side does not have at this moment."""
        looks = await are_there(self.first, database, keys)
        return [key for key, there in zip(keys, looks, strict=True) if there is not True]

    async def glance(self, database: int, key: bytes) -> Glance:
        """One look at a suspect: the second side after the first, so that what was just written may have arrived."""
        (one,) = await look_at(self.first, database, [key])
        (other,) = await look_at(self.second, self.databases[database], [key])
        if isinstance(one, Unread) or isinstance(other, Unread):
            for side, look in ((self.first, one), (self.second, other)):
                if isinstance(look, Unread):
                    await side.read_map()
            # Not the same twice, so that a server which is away for a while is not taken for data that differs.
            words = repr((one, other)).encode()
            return Glance(_NOT_READ, blake2b(words, digest_size=12).digest(), b"unread")
        apart = await self._difference(database, key, one, other)
        return Glance(apart, self._digest(self.first, one, apart), self._digest(self.second, other, apart))

    async def follows(self, database: int, key: bytes) -> bool:
        """Whether the second side of a key that never rests goes through values that the first just had.

        Both are read in turn some times; two values in common are proof, one is not: a side that stands still could have it.
        """
        had: set[bytes] = set()
        common: set[bytes] = set()
        for _ in range(BURST):
            (one,) = await look_at(self.first, database, [key])
            (other,) = await look_at(self.second, self.databases[database], [key])
            if not isinstance(one, Look) or not isinstance(other, Look):
                return False
            had.add(self._digest(self.first, one, None))
            value = self._digest(self.second, other, None)
            if value in had:
                common.add(value)
            if len(common) > 1:
                return True
        return False

    async def _difference(self, database: int, key: bytes, one: Look, other: Look) -> Difference | None:
        verdict, apart = judge(one, other, self.tolerance)
        if verdict is not Verdict.UNDECIDED:
            return apart
        if one.dump is not None and other.dump is not None:
            decided = decoded_difference(one.dump, other.dump, self.tolerance)
            if decided.known:
                self.report.decoded += decided.difference is None
                return decided.difference
        else:
            self.report.in_pieces += 1
        both = Both(self.first, self.second, key, database, self.databases[database], self.tolerance)
        return await differ_in_pieces(both)

    def _digest(self, side: Side, look: Look, apart: Difference | None) -> bytes:
        """Changes when the value does. A TTL counts only where the engine tells it exactly; a big value by what it takes."""
        if not look.there:
            return b"absent"
        body = look.body
        ends = look.expires_ms if side.tells_absolute_ttl else look.expires_ms is not None
        rest = (ends, "" if body is not None else (look.size_bytes, apart))
        return blake2b((body or b"") + repr(rest).encode(), digest_size=12).digest()
