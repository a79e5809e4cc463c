"""How fast a count grows, and when it will be done: from the last few seconds, not from the whole run. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

WINDOW_S = 5.0


@dataclass
class Meter:
    """A growing count, sampled; its clock is the caller's."""

    window_s: float = WINDOW_S
    _samples: deque[tuple[float, float]] = field(default_factory=deque)

    def sample(self, now_s: float, count: float) -> None:
        """Note the count at a moment; one that falls (work begun anew) forgets what was."""
        if self._samples and count < self._samples[-1][1]:
            self._samples.clear()
        self._samples.append((now_s, count))
        while len(self._samples) > 2 and self._samples[1][0] <= now_s - self.window_s:
            self._samples.popleft()

    @property
    def per_s(self) -> float:
        """Growth per second over the window; 0 before there are two samples."""
        if len(self._samples) < 2:
            return 0.0
        (first_s, first), (last_s, last) = self._samples[0], self._samples[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else 0.0
