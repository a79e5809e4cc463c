"""Runs planned checks one after the other: measures, judges, puts back what was disturbed, and never lets one break the run."""

from __future__ import annotations

import asyncio
import contextlib
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from holdfast.errors import HoldfastError
from holdfast.load.workload import MARK
from holdfast.prove.check import Check, Disturbs, Measured
from holdfast.prove.evidence import Finding
from holdfast.prove.experiment import NotWhole, whole
from holdfast.prove.plan import Planned
from holdfast.prove.stage import Stage
from holdfast.prove.verdict import Outcome, Verdict, check_failed, skipped
from holdfast.topology.apply import converge, watch_all

BOUND_S = 240.0
"""No check may take longer, whatever hangs."""
SWEEP_BOUND_S = 60.0


@dataclass
class Told:
    """Whom the runner tells what."""

    begins: Callable[[Check], None] = lambda _: None
    ends: Callable[[Finding], None] = lambda _: None


@dataclass
class Outcomes:
    """What became of the run."""

    findings: list[Finding] = field(default_factory=list)
    interrupted: bool = False
    notes: list[str] = field(default_factory=list)


async def run_checks(planned: Sequence[Planned], stage: Stage, told: Told) -> Outcomes:
    """Run them in order. Ctrl-C (a cancellation) ends the check under way, puts back what it disturbed, and leaves the rest."""
    outcomes = Outcomes()
    for place, each in enumerate(planned):
        try:
            finding = await _one(each, stage, told)
        except asyncio.CancelledError:
            outcomes.interrupted = True
            restored = await restore(stage, each.check)
            outcomes.notes += restored or ["nothing had to be put back"]
            outcomes.findings.append(_finding(each.check, skipped("interrupted"), restored=tuple(restored)))
            outcomes.findings += [
                _finding(rest.check, rest.verdict or skipped("interrupted before it"))
                for rest in planned[place + 1 :]
            ]
            break
        outcomes.findings.append(finding)
    with contextlib.suppress(asyncio.CancelledError):
        outcomes.notes += await sweep(stage)
    return outcomes


async def _one(planned: Planned, stage: Stage, told: Told) -> Finding:
    check = planned.check
    if planned.verdict is not None:
        finding = _finding(check, planned.verdict)
        told.ends(finding)
        return finding
    told.begins(check)
    began_s = time.monotonic()
    measured: Measured = {}
    trace = ""
    try:
        async with asyncio.timeout(BOUND_S):
            measured = await check.run(stage)
        verdict = check.judge(measured, stage.spec)
    except TimeoutError:
        verdict, trace = check_failed(f"it did not end within {BOUND_S:g} s"), traceback.format_exc()
    except HoldfastError as failed:
        verdict, trace = check_failed(str(failed)), traceback.format_exc()
    except Exception as broken:  # a check that breaks must not hide what the others say
        verdict, trace = check_failed(f"{type(broken).__name__}: {broken}"), traceback.format_exc()
    took_s = round(time.monotonic() - began_s, 2)
    restored = await restore(stage, check, disturbed=verdict.outcome is Outcome.FAILED)
    finding = replace(
        _finding(check, verdict, restored=tuple(restored)), measured=measured, took_s=took_s, traceback=trace
    )
    told.ends(finding)
    return finding


def _finding(check: Check, verdict: Verdict, restored: tuple[str, ...] = ()) -> Finding:
    return Finding(
        check.id, check.title, check.family, check.promise, check.seed, check.disturbs.value, verdict,
        restored=restored,
    )  # fmt: skip


async def restore(stage: Stage, check: Check, *, disturbed: bool = True) -> list[str]:
    """Put back what a check has disturbed; where the cache is not whole by itself then, do what `holdfast up` does.

    Args: `disturbed`, whether the check ended otherwise than it should have. Returns: what was done, in words.
    """
    told = await stage.restoring.now()
    if check.disturbs is not Disturbs.DISRUPTIVE or not disturbed or stage.live is None:
        return told
    try:
        took_s = await whole(stage, 45.0)
        return [*told, f"the cache is whole (after {took_s:.1f} s)"]
    except (NotWhole, HoldfastError):
        pass
    try:
        async with asyncio.timeout(120):
            await converge(stage.live, before=lambda _: None, after=lambda _: None)
            await watch_all(stage.live)
            took_s = await whole(stage, 60.0)
        return [*told, f"the cache was brought up again (whole after {took_s:.1f} s more)"]
    except (HoldfastError, TimeoutError) as failed:
        return [
            *told,
            f"NOT put back: the cache is not whole ({failed or 'in time'}); run holdfast up, see holdfast status",
        ]


async def sweep(stage: Stage) -> list[str]:
    """Remove what is left of this run's keys, which is nothing unless a check was broken off."""
    if not stage.shared.get("wrote", True):
        return []
    removed = 0
    pattern = f"*{MARK}-{stage.run}*"
    try:
        async with asyncio.timeout(SWEEP_BOUND_S):
            for shard in (await stage.look()).shards:
                async with stage.at(shard.primary.name) as node:
                    cursor = "0"
                    while True:
                        cursor, keys = await node.ask("SCAN", cursor, "MATCH", pattern, "COUNT", 2000)
                        for key in keys:
                            removed += await node.ask("UNLINK", key)
                        if str(cursor) == "0":
                            break
    except (HoldfastError, TimeoutError) as failed:
        return [
            f"keys of this run (pattern {pattern}) may be left, all with a TTL of their own or small: {failed or 'no time'}"
        ]
    return [f"{removed} keys that a broken check had left were removed"] if removed else []
