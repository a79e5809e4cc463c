"""How far behind a target is, at each word from it: bytes, and how long ago the source wrote what it lacks. Pure."""

from __future__ import annotations

from collections import deque

SAMPLE_EVERY_S = 0.002
SAMPLES_MAX = 100_000


class Lag:
    """Remembers when the stream reached which offset, until the target has been there."""

    def __init__(self) -> None:
        self.bytes = 0
        self.ms = 0.0
        self._reached: deque[tuple[float, int]] = deque(maxlen=SAMPLES_MAX)

    def came(self, now_s: float, end: int) -> None:
        """The stream has come to `end`."""
        if not self._reached or now_s - self._reached[-1][0] >= SAMPLE_EVERY_S:
            self._reached.append((now_s, end))
        else:
            self._reached[-1] = (self._reached[-1][0], end)  # counted from the first of those bytes

    def heard(self, now_s: float, applied: int, end: int) -> None:
        """The target has applied everything before `applied`, and the stream goes to `end` now."""
        while self._reached and self._reached[0][1] <= applied:
            self._reached.popleft()
        self.bytes = max(0, end - applied)
        self.ms = (now_s - self._reached[0][0]) * 1000 if self._reached and self.bytes else 0.0

    def clear(self) -> None:
        """The history begins anew."""
        self._reached.clear()
        self.bytes, self.ms = 0, 0.0
