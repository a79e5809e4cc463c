"""The first tier: decoded values in this process, bounded, each good only as long as its node's link proves that.

Coherence rests on three things. A `Trust` says until when the link to one node vouches for what was read from it; it
ends by itself when the link falls silent. A fill token, taken before a read is sent, is void once an invalidation for
the key has come meanwhile. And every removal counts up the key's generation, whoever asked for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from holdfast.client.kept import Entry, Trust, View

BUCKETS = 4096
"""Generations are kept per bucket of keys: two keys that share one only cost a fill now and then."""
ENTRY_BYTES = 400
"""About what an entry costs besides its value."""


@dataclass(slots=True)
class FillToken:
    """Proof that nothing was heard of a key since a read of it began."""

    trust: Trust
    generation: int
    epoch: int


class FirstTier:
    """Bounded by entries and by bytes; the one not used for long goes first (second chance in order of age).

    Reads take no lock. An owner's `view` may be looked into directly on hot paths.
    """

    def __init__(self, max_entries: int, max_bytes: int, clock: Callable[[], float] = monotonic) -> None:
        self.entries: dict[str, Entry] = {}
        """All, in order of age; each is in its owner's view too."""
        self._views: dict[object, View] = {}
        self.bytes = 0
        self.fills = self.dropped_fills = self.evictions = self.invalidations = self.flushes = 0
        self._hits_of_gone = 0
        self._max_entries, self._max_bytes, self._clock = max_entries, max_bytes, clock
        self._generations = [0] * BUCKETS
        self._epoch = 0
        self._lock = threading.Lock()

    def view(self, owner: object) -> View:
        """What is kept for one owner: always the same."""
        return self._views.get(owner) or self._views.setdefault(owner, View())

    def get(self, key: str, owner: object) -> Entry | None:
        """The entry of a key while it may be served to `owner`."""
        entry = self.view(owner).entries.get(key)
        if entry is None:
            return None
        now = self._clock()
        if now >= entry.until or now >= entry.trust.until:
            return None
        entry.hits += 1
        return entry

    def peek(self, key: str, owner: object, not_older_than: float) -> Entry | None:
        """The entry whatever vouches for it, unless it ended before that instant: for when there is nothing better."""
        entry = self.view(owner).entries.get(key)
        return entry if entry is not None and entry.until >= not_older_than else None

    def token(self, key: str, trust: Trust | None) -> FillToken | None:
        """Taken before a read is sent to the node of that trust; None when its link vouches for nothing now."""
        if trust is None or self._clock() >= trust.until:
            return None
        return FillToken(trust, self._generations[hash(key) % BUCKETS], self._epoch)

    def fill(self, token: FillToken | None, key: str, entry: Entry) -> bool:
        """Keep what was read, unless the token is void. Returns: whether it was kept."""
        if token is None or entry.size > self._max_bytes // 8:
            return False
        with self._lock:
            void = (
                token.epoch != self._epoch
                or token.generation != self._generations[hash(key) % BUCKETS]
                or self._clock() >= token.trust.until
            )
            if void:
                self.dropped_fills += 1
                return False
            self._remove(key)
            self.entries[key] = self.view(entry.owner).entries[key] = entry
            self.bytes += entry.size
            self.fills += 1
            if len(self.entries) > self._max_entries or self.bytes > self._max_bytes:
                self._evict()
        return True

    def invalidate(self, key: str) -> None:
        """Forget a key, and void every read of it that is under way."""
        with self._lock:
            self._generations[hash(key) % BUCKETS] += 1
            self.invalidations += 1
            self._remove(key)

    def flush(self) -> None:
        """Forget everything, and void every read that is under way."""
        with self._lock:
            self._epoch += 1
            self.flushes += 1
            self._hits_of_gone += sum(entry.hits for entry in self.entries.values())
            self.entries.clear()
            for view in list(self._views.values()):  # readers add theirs without the lock
                view.entries.clear()
            self.bytes = 0

    def after_fork(self) -> None:
        """In the child: nobody listens for this copy."""
        self._lock = threading.Lock()
        self.flush()

    @property
    def hits(self) -> int:
        """Served so far; entries that are still here count too."""
        while True:
            try:
                return self._hits_of_gone + sum(entry.hits for entry in self.entries.values())
            except RuntimeError:  # a fill came in between
                continue

    def _remove(self, key: str) -> None:
        entry = self.entries.pop(key, None)
        if entry is not None:
            self.view(entry.owner).entries.pop(key, None)
            self.bytes -= entry.size
            self._hits_of_gone += entry.hits

    def _evict(self) -> None:
        """The hand goes over the entries in order of age: one that was used is moved to the young end once."""
        second_chances = len(self.entries)
        while self.entries and (len(self.entries) > self._max_entries or self.bytes > self._max_bytes):
            key = next(iter(self.entries))
            entry = self.entries[key]
            if entry.hits and second_chances > 0 and self._clock() < entry.until:
                second_chances -= 1
                self._hits_of_gone += entry.hits
                entry.hits = 0
                del self.entries[key]
                self.entries[key] = entry
                continue
            self._remove(key)
            self.evictions += 1
