"""Which key comes next and what is said to it: Zipf ranks, unique ids, commands as bytes. Pure; randomness comes in."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Protocol

from holdfast.codec.crc import key_slot
from holdfast.load.workload import GROUP_KEYS, MARK, Command, Flow
from holdfast.spec.pattern import FieldPart, parse_pattern

_RANKS_AT_ONCE = 32
"""Few: while more are drawn, answers wait."""
_LARGEST_TABLE = 2_000_000
"""Ranks beyond this share the weight of the last: their chance is too small to matter, the table's memory is not."""


class Dice(Protocol):
    """Where randomness comes from; `random.Random` is one."""

    def random(self) -> float: ...

    def choices(
        self, population: Sequence[int], *, cum_weights: Sequence[float] | None = None, k: int = 1
    ) -> list[int]: ...


Key = tuple[bytes, int]
"""A key as a RESP bulk string, and its slot."""


def bulk(text: bytes) -> bytes:
    """A RESP bulk string."""
    return b"$%d\r\n%s\r\n" % (len(text), text)


def command(*words: bytes) -> bytes:
    """A command as RESP bytes."""
    return b"*%d\r\n" % len(words) + b"".join(bulk(word) for word in words)


def zipf_weights(count: int, skew: float) -> list[float]:
    """Cumulative weights of ranks 1 to `count`: 1 / rank ** skew."""
    return list(accumulate(1 / rank**skew for rank in range(1, min(count, _LARGEST_TABLE) + 1)))


class FlowKeys:
    """The keys of one flow that one worker owns, and no other writes.

    Key number n of worker w of W is made of n * W + w, so that workers never meet.
    """

    def __init__(
        self, flow: Flow, run: str, worker: int, workers: int, *, clustered: bool, rng: Dice
    ) -> None:
        self.flow = flow
        self.count = max(1, (flow.keys - worker + workers - 1) // workers)
        self._pattern = parse_pattern(flow.pattern)
        self._stem = f"{MARK}-{run}-{worker}"
        self._clustered = clustered
        self._rng = rng
        self._known: dict[tuple[str, int], Key] = {}
        self._weights = zipf_weights(self.count, flow.skew) if flow.skew else []
        self._population = range(len(self._weights))
        self._step = _coprime(self.count)
        self._drawn: list[int] = []
        alone = self._pattern.hash_tag is not None and len(self._pattern.fields) == 1
        self._grouped = Command.MGET in flow.commands and not alone
        """Whether keys that MGET asks for together share a slot; those whose only field is the tag cannot."""

    def number(self, elapsed_s: float) -> int:
        """The number of the key that is used next; those of high rank are spread over all numbers."""
        if not self._drawn:
            if self._weights:
                self._drawn = self._rng.choices(self._population, cum_weights=self._weights, k=_RANKS_AT_ONCE)
            else:
                self._drawn = [int(self._rng.random() * self.count) for _ in range(_RANKS_AT_ONCE)]
        spread = self._drawn.pop() * self._step % self.count
        if not self.flow.churn_per_s:
            return spread
        # The window of living keys moves on: number n gives way to n + count, then to n + 2 * count...
        gone = int(self.flow.churn_per_s * elapsed_s)
        return spread + self.count * ((gone - spread - 1) // self.count + 1) if gone > spread else spread

    def key(self, number: int, kind: str = "s") -> Key:
        """The key's bytes and slot. Args: `kind`, keeps keys of different types apart."""
        found = self._known.get((kind, number))
        if found is None:
            text = self.text(number, kind).encode()
            found = (bulk(text), key_slot(text) if self._clustered else 0)
            self._known[kind, number] = found
        return found

    def text(self, number: int, kind: str = "s") -> str:
        """The key as text: each field of the pattern holds the mark, the run and the number."""
        own = f"{self._stem}-{kind}{number}"
        if self._grouped and kind == "s":  # keys that MGET asks for together lie in one slot
            own = f"{{{self._stem}-{number // GROUP_KEYS}}}{number}"
        first = next(part.name for part in self._pattern.parts if isinstance(part, FieldPart))
        if self._pattern.hash_tag and self._grouped:
            own = f"{self._stem}-{number // GROUP_KEYS}"  # the pattern's own tag decides
            first = self._pattern.hash_tag
        values = dict.fromkeys(self._pattern.fields, f"{MARK}{number}" if self._grouped else MARK)
        return self._pattern.key(**{**values, first: own})

    def group(self, number: int) -> list[int]:
        """The numbers that MGET asks for together with `number`."""
        if not self._grouped:
            return [number]
        start = number - number % GROUP_KEYS
        return [each for each in range(start, start + GROUP_KEYS) if each < self.count] or [number]


def _coprime(count: int) -> int:
    """A step that visits every number below `count` once: near the golden share of it, and without a common divisor."""
    from math import gcd

    step = max(1, round(count * 0.6180339887))
    while gcd(step, count) != 1:
        step += 1
    return step


class Values:
    """Values of one size that begin with an id of their own."""

    def __init__(self, size: int, rng: Dice) -> None:
        self._filler = bytes(rng.choices(b"abcdefghijklmnopqrstuvwxyz0123456789", k=size))
        self.size = size

    def of(self, version: int) -> bytes:
        """`VERSION;` and filler, of the flow's size (or as long as the id, where that is more)."""
        own = b"%d;" % version
        return own + self._filler[len(own) :]


def version_of(value: bytes) -> int:
    """The id of a value that `Values.of` made; -1 for what is none."""
    head, mark, _ = value[:24].partition(b";")
    return int(head) if mark and head.isdigit() else -1
