"""Looks at keys on both sides and says of each what differs: bytes first, decoded values or pieces where bytes do not tell."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from holdfast.codec.measured import Bounds, Measured, in_groups
from holdfast.codec.replies import unlike
from holdfast.compare.content import decoded_difference
from holdfast.compare.judge import FOOTER_BYTES, Difference, Kind, Look, Tolerance, Verdict, judge
from holdfast.compare.looks import (
    GROUP_BYTES,
    TEXT_BYTES,
    Unread,
    absent_at,
    dumps,
    look_at,
    look_of,
    looks,
    measure,
    strings_of,
    texts,
)
from holdfast.compare.pieces import Both, differ_in_pieces
from holdfast.compare.report import Report
from holdfast.compare.settle import Glance
from holdfast.compare.side import Side

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
    """Whether most large values of the last group were no strings: then types are asked for first, else each is taken for a
    string, and what is none says so."""

    async def batch(self, database: int, keys: list[bytes]) -> list[bytes]:
        """Compare those keys; the ones that are not the same at this moment come back."""
        told = await asyncio.gather(
            measure(self.first, database, keys), measure(self.second, self.databases[database], keys)
        )
        one, other = told
        near_ms = self.tolerance.ttl_ms + one.margin_ms + other.margin_ms
        big_bytes = max(self.first.big_bytes, self.second.big_bytes)
        bounds = Bounds(GROUP_BYTES, TEXT_BYTES, big_bytes, near_ms)
        differ: list[bytes] = []
        for group in in_groups(one, other, bounds):
            small = group.small
            if group.large:
                apart, others = await self._texts(database, keys, group.large)
                differ += [keys[at] for at in apart]
                small = small + others
            differ += await self._dumps(database, keys, told, small)
            if group.rest:
                differ += await self._rest(database, keys, told, group.rest)
        return differ

    async def _texts(self, database: int, keys: list[bytes], large: list[int]) -> tuple[list[int], list[int]]:
        """Compare the strings among the keys at those places.

        Returns: places at which they are not the same, to be looked at again as other keys are, and those of what is no string.
        """
        strings, others = large, list[int]()
        if self._mixed:
            strings = await strings_of(self.first, database, keys, large)
            others = sorted(set(large) - set(strings))
        ours, theirs = await asyncio.gather(
            texts(self.first, database, keys, strings),
            texts(self.second, self.databases[database], keys, strings),
        )
        apart = unlike(ours, theirs, strings, 0)
        wrong = [at for at in apart if ours.reply(at).startswith(b"-WRONGTYPE")]
        self.report.same += len(strings) - len(apart)
        self.report.bytes_read += ours.bytes_held
        others += wrong
        self._mixed = 2 * len(others) > len(large)
        return sorted(set(apart) - set(wrong)), others

    async def _dumps(
        self, database: int, keys: list[bytes], told: tuple[Measured, Measured], places: list[int]
    ) -> list[bytes]:
        """Compare the keys at those places, which both sides have, by their DUMPs; those that are not the same come back."""
        ours, theirs = await asyncio.gather(
            dumps(self.first, database, keys, places),
            dumps(self.second, self.databases[database], keys, places),
        )
        apart = unlike(ours, theirs, places, FOOTER_BYTES)
        self.report.same += len(places) - len(apart)
        self.report.bytes_read += ours.bytes_held
        one, other = told
        return await self._compared(
            database,
            [keys[at] for at in apart],
            [look_of(self.first, keys[at], one, ours, at) for at in apart],
            [look_of(self.second, keys[at], other, theirs, at) for at in apart],
        )

    async def _rest(
        self, database: int, keys: list[bytes], told: tuple[Measured, Measured], places: list[int]
    ) -> list[bytes]:
        one, other = told
        ours, theirs = await asyncio.gather(
            looks(self.first, database, keys, one, places),
            looks(self.second, self.databases[database], keys, other, places),
        )
        self.report.bytes_read += sum(len(each.dump or b"") for each in ours if isinstance(each, Look))
        return await self._compared(database, [keys[at] for at in places], ours, theirs)

    async def _compared(
        self,
        database: int,
        keys: Sequence[bytes],
        ours: Sequence[Look | Unread],
        theirs: Sequence[Look | Unread],
    ) -> list[bytes]:
        """Those of the keys whose looks are not the same."""
        differ: list[bytes] = []
        for key, one, other in zip(keys, ours, theirs, strict=True):
            if (
                isinstance(one, Unread)
                or isinstance(other, Unread)
                or await self._difference(database, key, one, other) is not None
            ):
                differ.append(key)
        self.report.same += len(keys) - len(differ)
        return differ

    async def missing(self, database: int, keys: list[bytes]) -> list[bytes]:
        """Those of the second side's keys that the first side does not have at this moment."""
        return [keys[at] for at in await absent_at(self.first, database, keys)]

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
