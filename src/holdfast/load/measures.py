"""A worker's figures: latency histograms by command, answers over time, and how late the worker itself was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from hdrh.histogram import HdrHistogram

from holdfast.load.job import WorkerReport

LOWEST_US, HIGHEST_US, DIGITS = 1, 120_000_000, 3
BUCKET_S = 0.1
_FOLD_AT = 20_000


def histogram_of(counted: Mapping[int, int]) -> HdrHistogram:
    """A histogram of microseconds with these counts."""
    made = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
    for value_us, count in counted.items():
        made.record_value(min(max(value_us, LOWEST_US), HIGHEST_US), count)
    return made


def encoded(histogram: HdrHistogram) -> str:
    """As text."""
    return bytes(histogram.encode()).decode("ascii")


class Measures:
    """Collects; a value costs one append, and is counted in bulk."""

    def __init__(self, names: Sequence[str]) -> None:
        self.began_s = 0.0
        self.names = names
        self.values: list[list[int]] = [[] for _ in names]
        """For each kind: microseconds since due, appended by the worker's loop itself."""
        self._counted: list[Counter[int]] = [Counter() for _ in names]
        self._late: list[int] = []
        self._late_counted: Counter[int] = Counter()
        self._acks: Counter[int] = Counter()
        self._errors: Counter[int] = Counter()
        self._worst: dict[int, int] = {}

    def begin(self, began_s: float) -> None:
        """Count from here on (monotonic)."""
        self.began_s = began_s

    def late(self, late_s: float) -> None:
        """The worker sent something that much later than it could have."""
        self._late.append(int(late_s * 1e6))
        if len(self._late) > _FOLD_AT:
            self._late_counted.update(self._late)
            self._late.clear()

    def took(self, count: int, worst_us: int, now_s: float) -> None:
        """That many answers came now, the longest awaited after `worst_us`."""
        bucket = int((now_s - self.began_s) / BUCKET_S)
        self._acks[bucket] += count
        if worst_us > self._worst.get(bucket, 0):
            self._worst[bucket] = worst_us
        for values, counted in zip(self.values, self._counted, strict=True):
            if len(values) > _FOLD_AT:
                counted.update(values)
                values.clear()

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
        self._counted[0].update(unsent)

    def fill(self, report: WorkerReport) -> None:
        """Into the report."""
        for name, values, counted in zip(self.names, self.values, self._counted, strict=True):
            counted.update(values)
            values.clear()
            if counted:
                report.histograms[name] = encoded(histogram_of(counted))
        self._late_counted.update(self._late)
        report.late = encoded(histogram_of(self._late_counted))
        length = max((*self._acks, *self._errors), default=-1) + 1
        report.bucket_acks = [self._acks[place] for place in range(length)]
        report.bucket_errors = [self._errors[place] for place in range(length)]
        report.bucket_worst_us = [self._worst.get(place, 0) for place in range(length)]
        report.answered = sum(self._acks.values())
