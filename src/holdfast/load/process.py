"""One load process: `python -m holdfast.load.process`, a job on stdin, a report on stdout."""

from __future__ import annotations

import ctypes
import gc
import json
import sys

from holdfast.load.chores import Chores
from holdfast.load.job import Job, WorkerReport
from holdfast.load.worker import Worker

PR_SET_TIMERSLACK = 29
"""Of Linux's prctl: by how many nanoseconds a sleep may be lengthened (50,000 as it comes)."""


def _wake_on_time() -> None:
    """Have sleeps end when they should, and no garbage collection in the middle of a load, which would count as waiting."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1)
    gc.freeze()
    gc.disable()  # what a load leaves is freed as it goes: it makes no rings


def serve(job: Job) -> WorkerReport:
    """Connect, fill, say `ready`, wait for the start on stdin, offer, read back, remove.

    A worker that fails says so in its report; what it wrote is removed all the same, as far as that can be done.
    """
    worker = Worker(job)
    chores = Chores(worker.mender, worker.keys, worker.accounts)
    report = worker.report
    try:
        worker.connect()
        if job.offer.prefill:
            report.prefilled = chores.prefill(worker.commands.values, worker.commands.expiry)
        gone = chores.evicted()
        print(json.dumps({"ready": True, "prefilled": report.prefilled}), flush=True)  # noqa: T201 - the protocol
        word = sys.stdin.readline().split()
        if word[:1] == ["go"]:
            _wake_on_time()
            worker.run(float(word[1]))
            chores.verify(may_be_gone=chores.evicted() > gone)
            worker.accounts.fill(report)
    except (OSError, ValueError) as failed:
        report.failed = f"{type(failed).__name__}: {failed}"
    finally:
        try:
            report.keys = sum(len(acked) for acked in worker.accounts.acked)
            report.removed = chores.remove()
        except (OSError, ValueError) as failed:
            report.failed = report.failed or f"what it wrote could not be removed: {failed}"
        chores.close()
        worker.mender.close()
    return report


def main() -> None:
    """One job from stdin, one report to stdout."""
    job = Job.from_json(json.loads(sys.stdin.readline()))
    report = serve(job)
    print(json.dumps({"report": report.to_json()}), flush=True)  # noqa: T201 - the protocol


if __name__ == "__main__":
    main()
