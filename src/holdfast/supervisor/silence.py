"""When a node that says nothing is dead and when it is only slow: decided from what each beat found. Pure."""

from __future__ import annotations

from dataclasses import dataclass

BEAT_S = 0.3
"""Time between two beats."""
HALTED_BOUND_S = 0.9
"""A process that is stopped (not slow: not running) at every beat for this long is taken for dead."""
SILENT_LEAST_S = 2.0
"""No node is taken for dead for silence sooner than this, however short the node timeout."""
LATE_BEATS = 2
"""A beat that comes later than this many counts as this many: then it was this machine that stood still (overload, a
paused virtual machine), and what was frozen along with it cannot be blamed for its silence."""


@dataclass
class Silence:
    """How long one node has said nothing, as far as it is the node's own doing."""

    silent_s: float = 0.0
    halted_s: float | None = None
    """Since it was first found stopped; None while it is not."""

    def heard(self) -> None:
        """It gave a sign of life."""
        self.silent_s, self.halted_s = 0.0, None

    def missed(self, gap_s: float, *, halted: bool) -> None:
        """It gave none since the last beat.

        Args: `gap_s`, time since that beat; `halted`, whether its process is stopped now.
        """
        own_s = min(gap_s, LATE_BEATS * BEAT_S)
        self.silent_s += own_s
        if not halted:
            self.halted_s = None
        else:
            self.halted_s = 0.0 if self.halted_s is None else self.halted_s + own_s

    def verdict(self, node_timeout_s: float) -> str:
        """Why it is to be taken for dead, in words; empty while it is not.

        Args: `node_timeout_s`, the engine's own, which silence must exceed.
        """
        if self.halted_s is not None:
            return (
                f"it was halted (SIGSTOP) for {self.halted_s:.1f} s"
                if self.halted_s >= HALTED_BOUND_S
                else ""
            )
        if self.silent_s > max(SILENT_LEAST_S, node_timeout_s):
            return f"it was silent for {self.silent_s:.1f} s, longer than the node timeout"
        return ""
