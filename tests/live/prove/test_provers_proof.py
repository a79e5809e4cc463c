"""Prove the prover: a cache broken in just one way, and the check must say that the promise is not kept.

Each test names the checks that it breaks (`breaks`), fails when one of them did not say so, and a test at the end holds
all of them against the catalogue.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis
from tests.live.conftest import Bench, until
from tests.live.prove.caches import TLS_ENGINE, Shape, Shop, up

from holdfast.prove.catalog import CHECKS

NOT_KEPT = 4
"""Exit code."""
NEVER_KEPT = {"durability.backup", "durability.region", "alerts.rules", "security.at-rest"}
"""These can say nothing but "not provable here" in this version, so there is nothing that could be wrong."""
pytestmark = pytest.mark.timeout(400)
Test = Callable[[Bench], None]
BROKEN_SOMEWHERE: set[str] = set()
_seen_broken: set[str] = set()


def breaks(*checks: str) -> Callable[[Test], Test]:
    """The test breaks a cache so that each of these checks says "not kept"."""
    BROKEN_SOMEWHERE.update(checks)

    def around(test: Test) -> Test:
        @functools.wraps(test)
        def run(bench: Bench) -> None:
            _seen_broken.clear()
            test(bench)
            assert set(checks) <= _seen_broken

        return run

    return around


def broken(verdict: dict[str, Any], said: str) -> None:
    """The check has seen it, in those words, and the command says so too."""
    assert verdict["outcome"] == "not kept", verdict
    assert said in verdict["why"], verdict["why"]
    assert verdict["code"] == NOT_KEPT
    _seen_broken.add(verdict["finding"]["id"])


def test_every_check_that_can_say_kept_is_broken_by_a_test() -> None:
    assert {check.id for check in CHECKS} == BROKEN_SOMEWHERE | NEVER_KEPT


def is_kept(verdict: dict[str, Any]) -> None:
    assert verdict["outcome"] == "kept", verdict
    assert verdict["code"] == 0


@pytest.mark.long
@breaks(
    "connectivity.services",
    "security.rights",
    "security.authentication",
    "durability.config",
    "security.secrets",
    "security.audit",
)
def test_users_secrets_records_and_settings(bench: Bench) -> None:
    """One cache, broken and mended seven times."""
    shop = up(bench)
    folder = bench.state / "nodes" / "shop" / "n1"
    for check in ("connectivity.services", "security.rights", "durability.config", "security.secrets"):
        is_kept(shop.verdict(check))

    shop.on_all("ACL", "SETUSER", "cart", "-set")
    broken(shop.verdict("connectivity.services"), "cart")
    shop.on_all("ACL", "SETUSER", "cart", "+set")

    shop.on_all("ACL", "SETUSER", "cart", "+config", "~*")
    broken(shop.verdict("security.rights"), "cart may")
    shop.on_all("ACL", "LOAD")

    shop.on_all("ACL", "SETUSER", "default", "on", "nopass", "+@all", "~*")
    broken(shop.verdict("security.authentication"), "lets nobody's name and no password in")
    shop.on_all("ACL", "LOAD")

    shop.on_all("CONFIG", "SET", "appendonly", "no")
    broken(shop.verdict("durability.config"), "appendonly no instead of yes")
    shop.on_all("CONFIG", "SET", "appendonly", "yes")

    data = folder / "server.conf"
    data.chmod(0o644)
    broken(shop.verdict("security.secrets"), "0644")
    data.chmod(0o600)

    log = bench.state / "supervisor" / "log"
    before = log.read_text()
    log.write_text(before + (bench.state / "caches" / "shop" / "passwords" / "cart").read_text())
    broken(shop.verdict("security.secrets"), "supervisor/log holds a password")
    log.write_text(before)

    is_kept(shop.verdict("security.audit"))  # which writes a line there
    (bench.state / "audit.log").chmod(0o644)
    broken(shop.verdict("security.audit"), "0644")
    (bench.state / "audit.log").chmod(0o600)

    for check in ("connectivity.services", "security.rights", "security.authentication", "durability.config"):
        is_kept(shop.verdict(check))


@pytest.mark.long
@breaks("connectivity.tls", "connectivity.plaintext", "connectivity.topology")
def test_nodes_away_and_plaintext_where_tls_is_promised(bench: Bench) -> None:
    shop = up(bench)
    is_kept(shop.verdict("connectivity.topology"))
    required = replace(shop.shape, tls="required", engine=TLS_ENGINE)
    broken(shop.verdict("connectivity.tls", required), "do not speak TLS")
    broken(shop.verdict("connectivity.plaintext", required), "answers in plaintext")
    bench.run("supervisor", "stop", check=True)
    os.kill(bench.pids("shop")["n2"], signal.SIGKILL)
    broken(shop.verdict("connectivity.topology"), "n2")


@pytest.mark.long
@breaks("security.tls-versions")
def test_a_tls_version_below_the_promised_one(bench: Bench) -> None:
    shop = up(bench, Shape(mode="standalone", replicas=0, tls="required", engine=TLS_ENGINE))
    for check in ("connectivity.tls", "connectivity.plaintext", "security.tls-versions"):
        is_kept(shop.verdict(check))
    newer = replace(shop.shape, tls='{mode: required, min_version: "1.3"}')
    broken(shop.verdict("security.tls-versions", newer), "speaks TLS 1.2")


@pytest.mark.long
@breaks("security.addresses")
def test_addresses_that_nothing_keeps_out(bench: Bench) -> None:
    shop = up(bench, Shape(mode="standalone", replicas=0, extra="network: {bind: [0.0.0.0]}\n"))
    allowed = replace(shop.shape, extra="network: {bind: [0.0.0.0], allow: {office: 10.9.9.0/24}}\n")
    verdict = shop.verdict("security.addresses", allowed)
    broken(verdict, "rules" if "rules" in verdict["why"] else "takes connections")


@pytest.mark.long
@breaks("performance.hit-rate", "performance.memory", "performance.most", "performance.latency")
def test_too_little_memory_and_too_much_promised(bench: Bench) -> None:
    shop = up(
        bench, Shape(mode="standalone", replicas=0, maxmemory="8mb", persistence="{aof: {enabled: false}}")
    )
    is_kept(shop.verdict("performance.hit-rate"))
    is_kept(shop.verdict("performance.latency"))
    large = replace(
        shop.shape,
        keys=20_000,
        value="2kb",
        promises="{latency: 1ms, percentile: 99.9, throughput: 50000000, hit_rate: 99%}",
    )
    broken(shop.verdict("performance.hit-rate", large), "do not fit in maxmemory")
    broken(shop.verdict("performance.memory", large), "maxmemory of all primaries")
    broken(shop.verdict("performance.most", large), "less than 50,000,000/s")
    broken(shop.verdict("performance.latency", large), "of what was offered")


@pytest.mark.long
def test_writes_that_vanish_while_a_primary_is_replaced(bench: Bench) -> None:
    shop = up(bench)
    is_kept(shop.verdict("availability.primary-killed"))
    running = bench.begin(
        "prove",
        str(shop.path),
        "--json",
        "--only",
        "availability.primary-killed",
        "--to",
        str(bench.folder / "run"),
    )
    until(lambda: "r" in _replaced(bench, 3), 60)  # two kills of the first run, and the first of this one
    for node in shop.nodes():
        if node.role()[0] == "master":
            node.flushall()
    out, err = running.communicate(timeout=100)
    assert running.returncode == NOT_KEPT, err
    assert "writes that a replica had acknowledged (WAIT 1) were lost" in out


def _replaced(bench: Bench, times: int) -> str:
    events = bench.run("events", "shop", "--json", "--last", "100").facts
    return "r" if sum(event["kind"] == "failover" for event in events) >= times else ""


@pytest.mark.long
@breaks("performance.latency")
def test_answers_that_come_late(bench: Bench) -> None:
    """A node that is halted for a moment, again and again."""
    shop = up(bench, Shape(mode="standalone", replicas=0, promises="{latency: 40ms, throughput: 500}"))
    pid = bench.pids("shop")["n1"]
    stop = threading.Event()

    def bursts() -> None:
        while not stop.is_set():
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.1)
            os.kill(pid, signal.SIGCONT)
            stop.wait(0.2)

    thread = threading.Thread(target=bursts)
    thread.start()
    try:
        verdict = shop.verdict("performance.latency")
    finally:
        stop.set()
        thread.join()
    broken(verdict, "p99 is")


@pytest.mark.long
@breaks(
    "availability.primary-killed",
    "availability.primary-hung",
    "availability.zone-lost",
    "availability.promise",
)
def test_failovers_that_take_longer_than_promised(bench: Bench) -> None:
    shop = up(
        bench, Shape(mode="cluster", promises="{failover: 1ms, availability: 99.9999999%, rpo: 1s, rto: 1s}")
    )
    for check in ("availability.primary-killed", "availability.primary-hung", "availability.zone-lost"):
        broken(shop.verdict(check, bound_s=240), "clients waited")
    done = shop.prove("--only", "availability.replica-killed", "--only", "availability.promise", bound_s=240)
    verdicts = {each["id"]: each["verdict"] for each in done.facts["findings"]}
    assert verdicts["availability.replica-killed"]["outcome"] == "kept"
    promise = verdicts["availability.promise"]
    broken(promise | {"code": done.code, "finding": {"id": "availability.promise"}}, "a month")


@pytest.mark.long
@breaks("durability.aof-tail", "durability.disk-full")
def test_append_only_files_that_do_not_keep_what_was_acknowledged(bench: Bench) -> None:
    """The settings of the live nodes are what is tried, not those that the spec declares."""
    shop = up(bench, Shape(mode="standalone", replicas=0))
    for check in ("durability.aof-tail", "durability.disk-full"):
        is_kept(shop.verdict(check))
    shop.on_all("CONFIG", "SET", "aof-load-truncated", "no")
    broken(shop.verdict("durability.aof-tail"), "n1: set as it is, a server does not start")
    shop.on_all("CONFIG", "SET", "aof-load-truncated", "yes")
    shop.on_all("CONFIG", "SET", "appendonly", "no")
    broken(shop.verdict("durability.aof-tail"), "writes no append-only file")
    broken(shop.verdict("durability.disk-full"), "goes on acknowledging writes that it cannot keep")


@pytest.mark.long
@breaks("performance.pipelining")
def test_pipelines_that_the_server_does_not_bear(bench: Bench) -> None:
    """Answers that wait together are more than a client's buffer may hold; one by one they fit."""
    shop = up(bench, Shape(mode="standalone", replicas=0, value="4kb"))
    is_kept(shop.verdict("performance.pipelining"))
    shop.on_all("CONFIG", "SET", "client-output-buffer-limit", "normal 32kb 0 0")
    broken(shop.verdict("performance.pipelining"), "in pipelines failed")


@pytest.mark.long
@breaks("security.refusals-kept")
def test_refusals_that_nobody_writes_down(bench: Bench) -> None:
    silent = Shape(mode="standalone", replicas=0, tls="off, audit: false")
    shop = up(bench, silent)
    promised = replace(silent, tls="off")
    broken(shop.verdict("security.refusals-kept", promised), "n1 refused a log-in, and audit.log has nothing")
    bench.run("up", str(bench.spec(promised.text)), check=True)
    is_kept(shop.verdict("security.refusals-kept", promised))


@pytest.mark.long
@breaks("availability.cold-start")
def test_a_cold_start_without_anything_on_disk(bench: Bench) -> None:
    shop = up(
        bench,
        Shape(mode="standalone", replicas=0, persistence="{rdb: {enabled: false}, aof: {enabled: false}}"),
    )
    broken(shop.verdict("availability.cold-start"), "nothing is kept on disk")


@pytest.mark.long
@breaks("availability.supervisor-killed")
def test_a_supervisor_that_does_not_watch_again(bench: Bench) -> None:
    shop = up(bench)
    is_kept(shop.verdict("availability.supervisor-killed"))
    for file in (bench.state / "nodes" / "shop").glob("watch.json"):
        file.unlink()
    broken(shop.verdict("availability.supervisor-killed"), "did not bring a killed replica back")


@pytest.mark.long
@breaks("availability.switchover", "availability.replica-killed")
def test_clients_that_notice_a_switchover_and_a_replicas_death(bench: Bench) -> None:
    """Every node holds writes back nearly always, so at the moment of the experiment too."""
    shop = up(bench)
    for check in ("availability.switchover", "availability.replica-killed"):
        is_kept(shop.verdict(check))
        verdict = _with_pauses(shop, check)
        broken(
            verdict, "did not become the primary" if "did not become" in verdict["why"] else "clients waited"
        )


def _with_pauses(shop: Shop, check: str) -> dict[str, Any]:
    stop = threading.Event()

    def pauses() -> None:
        while not stop.wait(2.5):
            for node in shop.nodes():
                with contextlib.suppress(redis.RedisError):  # the one that the check has just killed
                    node.execute_command("CLIENT", "PAUSE", "2400", "WRITE")  # type: ignore[no-untyped-call]
                node.close()

    thread = threading.Thread(target=pauses)
    thread.start()
    try:
        return shop.verdict(check)
    finally:
        stop.set()
        thread.join()


@pytest.mark.long
@breaks("availability.minority")
def test_a_primary_that_goes_on_alone(bench: Bench) -> None:
    shop = up(bench, Shape(mode="cluster", node_timeout="2s"))
    is_kept(shop.verdict("availability.minority"))
    shop.on_all("CONFIG", "SET", "cluster-node-timeout", "120000")
    broken(shop.verdict("availability.minority"), "never stopped taking writes")
