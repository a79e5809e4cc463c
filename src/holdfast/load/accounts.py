"""A worker's ledger: which write was acknowledged last for each key, and what reads said against it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from holdfast.load.draw import version_of
from holdfast.load.job import WorkerReport


class Accounts:
    """What one worker knows of its own keys; nobody else writes them."""

    def __init__(self, flows: int) -> None:
        self.acked: list[dict[int, int]] = [{} for _ in range(flows)]
        """For each flow: key number -> id of its last acknowledged SET."""
        self.appended: list[dict[int, set[int]]] = [{} for _ in range(flows)]
        """For each flow: key number -> ids of acknowledged RPUSHes."""
        self.touched: set[tuple[int, str, int]] = set()
        """Flow, type and number of keys that may exist beside those in `acked`."""
        self._under_way: set[tuple[int, int]] = set()
        self._last_id = 0
        self.hits = self.misses = self.fills = self.stale = self.writes = 0
        self.lost = self.doubled = self.verified = 0

    def next_id(self) -> int:
        """An id that no other write of this worker has."""
        self._last_id += 1
        return self._last_id

    def acknowledged(self, flow: int, number: int) -> int:
        """The id of the key's last acknowledged write; 0 for none."""
        return self.acked[flow].get(number, 0)

    def begin_write(self, flow: int, number: int) -> int:
        """An id for a SET of that key; 0 while another is under way, for their order would be unknown."""
        if (flow, number) in self._under_way:
            return 0
        self._under_way.add((flow, number))
        return self.next_id()

    def touch(self, flow: int, kind: str, number: int) -> None:
        """A key of that type may exist from now on."""
        self.touched.add((flow, kind, number))

    def filled(self, flow: int, number: int, version: int) -> None:
        """A SET that was acknowledged before the load began."""
        self.acked[flow][number] = version

    def get(self, flow: int, number: int, before: int, reply: bytes | None) -> bool:
        """The answer to a GET. Args: `before`, what was acknowledged when it was sent. Returns: whether it hit."""
        if reply is None:
            self.misses += 1
            return False
        self.hits += 1
        if before and version_of(reply) < before:
            self.stale += 1
        return True

    def many(self, reply: Sequence[bytes | None]) -> None:
        """The answer to an MGET."""
        hits = sum(each is not None for each in reply)
        self.hits += hits
        self.misses += len(reply) - hits

    def wrote(self, flow: int, number: int, version: int, *, fill: bool) -> None:
        """An acknowledged SET."""
        self._under_way.discard((flow, number))
        self.acked[flow][number] = version
        self.writes += 1
        self.fills += fill

    def appended_one(self, flow: int, number: int, version: int) -> None:
        """An acknowledged RPUSH."""
        self.appended[flow].setdefault(number, set()).add(version)
        self.writes += 1

    def give_up(self, flow: int, number: int) -> None:
        """A command without an answer: a write may or may not have been done."""
        self._under_way.discard((flow, number))

    def check_value(self, flow: int, number: int, value: bytes | None, *, may_be_gone: bool) -> None:
        """Compare a key read back with what was acknowledged.

        Args: `may_be_gone`, keys were evicted or may have expired, so that only an older value says that a write
            was lost.
        """
        self.verified += 1
        if value is None:
            self.lost += not may_be_gone
        else:
            self.lost += version_of(value) < self.acked[flow][number]

    def check_list(self, flow: int, number: int, there: Iterable[bytes]) -> None:
        """Compare a list read back: every acknowledged id must be there, and none twice."""
        counted = Counter(int(each) for each in there)
        self.verified += 1
        self.lost += len(self.appended[flow][number] - counted.keys())
        self.doubled += sum(times - 1 for times in counted.values())

    def fill(self, report: WorkerReport) -> None:
        """Into the report."""
        for name in ("hits", "misses", "fills", "stale", "writes", "lost", "doubled", "verified"):
            setattr(report, name, getattr(self, name))
