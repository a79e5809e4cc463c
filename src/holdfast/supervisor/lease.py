"""What machines owe one another when they no longer hear one another: decided from who answered whom, and when. Pure.

A machine whose questions a majority answered lately holds a lease on its primaries. One that does not ends them before
the others may replace them: they wait longer than it does, and count from later.
Clocks are each machine's own and never compared: only time that passed is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

LEAST_MACHINES = 3
"""One machine is one vote, and of two none is a majority that the other is not."""
LEASE_SHARE = 0.6
"""Of the node timeout: so a primary is ended before sentinels, who wait all of it, elect another."""
LEASE_LEAST_S = 2.0
MARGIN_S = 2.0
"""By how much longer the others wait: a round of questions, a kill, and drift of clocks."""
TOGETHER_S = 3.0
"""A machine whose supervisor fell silent this much before its nodes did not lose its link: its supervisor ended, and
nobody there honours a lease."""


def lease_s(node_timeout_ms: int) -> float:
    """How long a lease lasts that nobody renews."""
    return max(LEASE_LEAST_S, LEASE_SHARE * node_timeout_ms / 1000)


@dataclass
class Lease:
    """What one machine knows of its own lease and of the others. Times are its own, in seconds."""

    own: str
    machines: tuple[str, ...]
    """All of the cache, the own one too."""
    lasts_s: float
    began_s: float
    answered_s: dict[str, float] = field(default_factory=dict)
    """Machine -> when a question to it began that it answered."""
    heard_s: dict[str, float] = field(default_factory=dict)
    """Machine -> when it last asked here."""

    @property
    def counts(self) -> bool:
        """Whether there are machines enough for a majority to mean anything."""
        return len(self.machines) >= LEAST_MACHINES and self.own in self.machines

    @property
    def majority(self) -> int:
        return len(self.machines) // 2 + 1

    def holds(self, now_s: float) -> bool:
        """Whether a majority, the own machine counted, has answered within the lease; always where none counts."""
        if not self.counts:
            return True
        fresh = sum(
            now_s - self.answered_s.get(each, self.began_s) < self.lasts_s
            for each in self.machines
            if each != self.own
        )
        return fresh + 1 >= self.majority

    def is_gone(self, machine: str, now_s: float) -> bool:
        """Whether it has not asked here for so long that its lease is over for certain, were its supervisor alive."""
        return now_s - self.heard_s.get(machine, self.began_s) > self.lasts_s + MARGIN_S

    def gone(self, now_s: float) -> frozenset[str]:
        """All that are."""
        return frozenset(each for each in self.machines if each != self.own and self.is_gone(each, now_s))

    def majority_holds_gone(self, machine: str, now_s: float, views: Mapping[str, Iterable[str]]) -> bool:
        """Whether a majority of all machines holds it for gone.

        Args: `views`, machine -> those that it holds for gone, as it has just said.
        """
        agree = sum(machine in set(said) for each, said in views.items() if each in self.machines)
        return self.counts and self.is_gone(machine, now_s) and agree + 1 >= self.majority

    def fell_silent_together(self, machine: str, node_heard_s: float) -> bool:
        """Whether its supervisor was heard as late as its node was: else the supervisor ended before, and honours no
        lease.
        """
        return node_heard_s - self.heard_s.get(machine, self.began_s) <= TOGETHER_S


@dataclass
class Ballot:
    """Whom this machine gave its one vote, so that not two machines replace the same primary."""

    lasts_s: float
    given_to: str = ""
    at_s: float = 0.0

    def give(self, machine: str, now_s: float) -> bool:
        """Give it to the machine, unless another has it and may still be at work."""
        if self.given_to not in {"", machine} and now_s - self.at_s < self.lasts_s:
            return False
        self.given_to, self.at_s = machine, now_s
        return True
