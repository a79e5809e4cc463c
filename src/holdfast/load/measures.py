"""A worker's figures: latency histograms by command, answers over time, and how late the worker itself was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from hdrh.histogram import HdrHistogram

from holdfast.load.job import WorkerReport

LOWEST_US, HIGHEST_US, DIGITS = 1, 120_000_000, 3
BUCKET_S = 0.1
_QUICK_US = 1 << 16
"""Below this a microsecond is a place in a list: to count there takes no more than to remember, and nothing has to be
counted in bulk later, which would hold the loop up."""


def histogram_of(counted: Mapping[int, int]) -> HdrHistogram:
    """A histogram of microseconds with these counts."""
    made = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
    for value_us, count in counted.items():
        made.record_value(min(max(value_us, LOWEST_US), HIGHEST_US), count)
    return made


def encoded(histogram: HdrHistogram) -> str:
    """As text."""
    return bytes(histogram.encode()).decode("ascii")


class Counts:
    """How often each number of microseconds came."""

    __slots__ = ("_quick", "_rest")

    def __init__(self) -> None:
        self._quick = [0] * _QUICK_US
        self._rest: Counter[int] = Counter()

    def add(self, value_us: int) -> None:
        """One of at least 0."""
        if value_us < _QUICK_US:
            self._quick[value_us] += 1
        else:
            self._rest[value_us] += 1

    def update(self, counted: Mapping[int, int]) -> None:
        self._rest.update(counted)

    def all(self) -> Counter[int]:
        """Microseconds -> how often."""
        found = Counter({value_us: count for value_us, count in enumerate(self._quick) if count})
        found.update(self._rest)
        return found


class Measures:
    """Collects."""

    def __init__(self, names: Sequence[str]) -> None:
        self.began_s = 0.0
        self.names = names
        self.values = [Counts() for _ in names]
        """For each kind: microseconds since due, counted by the worker's loop itself."""
        self._late = Counts()
        self._acks: Counter[int] = Counter()
        self._errors: Counter[int] = Counter()
        self._worst: dict[int, int] = {}

    def begin(self, began_s: float) -> None:
        """Count from here on (monotonic)."""
        self.began_s = began_s

    def late(self, late_s: float) -> None:
        """The worker sent something that much later than it could have."""
        self._late.add(max(0, int(late_s * 1e6)))

    def took(self, count: int, worst_us: int, now_s: float) -> None:
        """That many answers came now, the longest awaited after `worst_us`."""
        bucket = int((now_s - self.began_s) / BUCKET_S)
        self._acks[bucket] += count
        if worst_us > self._worst.get(bucket, 0):
            self._worst[bucket] = worst_us

    def failed(self, count: int, now_s: float) -> None:
        self._errors[int((now_s - self.began_s) / BUCKET_S)] += count

    def never_sent(self, due_s: float, step_s: float, end_s: float, batches: int, each: int) -> None:
        """Commands that were due and not sent before the end: they have waited at least until then."""
        unsent: Counter[int] = Counter()
        stride = max(
            1, batches // 10_000
        )  # a histogram of 10,000 points is exact enough for those that never went
        for batch in range(0, batches, stride):
            unsent[int((end_s - due_s - batch * step_s) * 1e6)] += each * stride
        self.values[0].update(unsent)

    def fill(self, report: WorkerReport) -> None:
        """Into the report."""
        for name, values in zip(self.names, self.values, strict=True):
            if counted := values.all():
                report.histograms[name] = encoded(histogram_of(counted))
        report.late = encoded(histogram_of(self._late.all()))
        length = max((*self._acks, *self._errors), default=-1) + 1
        report.bucket_acks = [self._acks[place] for place in range(length)]
        report.bucket_errors = [self._errors[place] for place in range(length)]
        report.bucket_worst_us = [self._worst.get(place, 0) for place in range(length)]
        report.answered = sum(self._acks.values())
