"""What is on record: a log-in that is refused on purpose, and this run itself, looked for where they must be written down."""

from __future__ import annotations

import asyncio
import json
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from holdfast.load.workload import MARK
from holdfast.prove.check import Measured
from holdfast.prove.checks.security import enters
from holdfast.prove.stage import Stage
from holdfast.state import audit

KEPT_BOUND_S = 10.0
"""Within which a refusal must be in the audit log."""
KEPT_LOOK_S = 0.2
AUDIT_TAIL_BYTES = 4 << 20


async def audited(stage: Stage) -> Measured:
    """A refused log-in on every server and an operator's action: both must be on record."""
    intruder = f"{MARK}-intruder-{stage.run}"
    missing: list[str] = []
    servers = stage.record.servers
    for member in servers:
        await enters(stage, member, intruder)
        async with stage.at(member) as node:
            entries = await node.ask("ACL", "LOG", 32)
        if not any(
            intruder in str(entry) and "auth" in str(entry) and stage.run in str(entry) for entry in entries
        ):
            missing.append(member.name)
    logged, mode = False, 0
    if stage.state is not None:
        audit(stage.state, "prove", {"cache": stage.record.name, "run": stage.run})
        path = stage.state.audit_log
        mode = stat.S_IMODE(path.stat().st_mode)
        logged = any(
            entry.get("action") == "prove" and entry.get("run") == stage.run for entry in _audit_lines(path)
        )
    return {
        "servers": len(servers),
        "without_the_refusal": missing,
        "action_logged": logged,
        "audit_log_mode": f"{mode:04o}",
    }


async def refusals_kept(stage: Stage) -> Measured:
    """A refused log-in on every server: how long until the audit log holds it, which outlives the servers' memory of it."""
    intruder = f"{MARK}-intruder-{stage.run}-kept"
    began_s = time.monotonic()
    waiting = {member.name for member in stage.record.servers}
    for member in stage.record.servers:
        await enters(stage, member, intruder)
    while waiting and stage.state is not None and time.monotonic() - began_s < KEPT_BOUND_S:
        await asyncio.sleep(KEPT_LOOK_S)
        waiting -= {
            str(entry.get("node"))
            for entry in _audit_lines(stage.state.audit_log)
            if entry.get("user") == intruder and entry.get("cache") == stage.record.name
        }
    return {
        "servers": len(stage.record.servers),
        "not_kept": sorted(waiting),
        "took_s": round(time.monotonic() - began_s, 1),
        "bound_s": KEPT_BOUND_S,
    }


def _audit_lines(log: Path) -> Iterator[dict[str, Any]]:
    """The last entries of the audit log; a line that is cut off is left out."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - AUDIT_TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry
