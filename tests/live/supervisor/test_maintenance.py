"""Maintenance: said in status, events and audit; no way home meanwhile; it ends by itself or when it is told to."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import pytest
from tests.live.conftest import Bench, need, until
from tests.live.topology.caches import spec_text


def told(bench: Bench, kind: str) -> list[dict[str, Any]]:
    found = bench.run("events", "demo", "--json", "--last", "200").facts
    return [event for event in found if event["kind"] == kind]


@pytest.mark.long
def test_it_is_said_everywhere_and_ends_by_itself(bench: Bench) -> None:
    need("valkey-9.1")
    bench.run("up", str(bench.spec(spec_text("valkey-9.1", "standalone"))), check=True)
    assert bench.run("maintenance", "demo", "--end").code == 2
    assert bench.run("maintenance", "demo", "--for", "yesterday").code == 2
    begun = bench.run("maintenance", "demo", "--for", "8s", "--why", "new kernel", "--json", check=True)
    assert begun.facts["maintenance"]["why"] == "new kernel"
    status = bench.run("status", "demo")
    assert "in maintenance until" in status.out
    assert "new kernel" in status.out
    assert status.code == 0
    assert begun.facts["maintenance"]["by"]
    until(lambda: bench.status("demo")["maintenance"] is None, bound_s=20)
    until(lambda: [each["state"] for each in told(bench, "maintenance")] == ["begun", "over"], bound_s=10)
    bench.run("maintenance", "demo", "--for", "1h", check=True)
    bench.run("maintenance", "demo", "--end", check=True)
    assert bench.run("maintenance", "demo", "--json", check=True).facts["maintenance"] is None
    until(
        lambda: [each["state"] for each in told(bench, "maintenance")][-2:] == ["begun", "over"], bound_s=10
    )
    audit = [json.loads(line) for line in (bench.state / "audit.log").read_text().splitlines()]
    assert [each["end"] for each in audit if each["action"] == "maintenance"] == [False, False, True]
    # A file that was damaged is no maintenance, and keeps nobody from working.
    (bench.state / "caches" / "demo" / "maintenance.json").write_text("[]")
    assert bench.run("up", "demo").code == 0


@pytest.mark.long
def test_primaries_go_home_only_when_it_is_over_and_the_dead_are_replaced_all_the_same(bench: Bench) -> None:
    need("valkey-9.1")
    bench.run("up", str(bench.spec(spec_text("valkey-9.1", "cluster"))), check=True)
    time.sleep(1.5)
    bench.run("maintenance", "demo", "--for", "1h", check=True)
    time.sleep(1.5)
    nodes = bench.status("demo")["nodes"]
    home = next(node["zone"] for node in nodes if node["role"] == "primary")
    pids = bench.pids()
    for node in nodes:
        if node["zone"] == home:
            os.kill(pids[node["name"]], signal.SIGKILL)
    until(lambda: bench.run("status", "demo").code == 0, bound_s=40)

    def crowded() -> bool:
        zones = [node["zone"] for node in bench.status("demo")["nodes"] if node["slots"]]
        return max(zones.count(zone) for zone in zones) > 1

    assert told(bench, "failover")
    assert crowded()
    time.sleep(8)
    assert told(bench, "switched home") == []
    assert crowded()
    bench.run("maintenance", "demo", "--end", check=True)
    until(lambda: not crowded(), bound_s=40)
    assert told(bench, "switched home")
