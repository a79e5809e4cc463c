"""Proofs that go wrong: nothing there, half there, gone in the middle, interrupted, no room for the evidence."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.live.conftest import Bench, need, until
from tests.live.preload import compiled
from tests.live.prove.caches import Shape, evidence_of, up

pytestmark = pytest.mark.timeout(400)
MINE = 4
"""Keys of somebody else."""


def test_what_cannot_be_meant_is_refused_in_words(bench: Bench) -> None:
    shop = up(bench, Shape(mode="standalone", replicas=0))
    for words, said in (
        (("--only", "performance.latncy"), "performance.latency"),
        (("--most", "gently"), "harmless, load, disruptive"),
        (("--for", "0s"), "24 h"),
        (("a", "b"), "one cache"),
        (("--url", "http://x"), "redis://"),
        (("--url", "redis://user:word@127.0.0.1:1"), "--password-file"),
    ):
        done = shop.bench.run("prove", str(shop.path), *words)
        assert done.code == 2, (words, done.err)
        assert said in done.err
        assert "Traceback" not in done.err
    assert bench.run("prove", "diff", "x").code == 2
    done = bench.run("prove", "diff", "nosuch", "neither")
    assert done.code == 1
    assert "no evidence of a proof run" in done.err
    assert bench.run("prove", "nosuch").code == 1


def test_a_cache_that_is_down_or_half_down(bench: Bench) -> None:
    shop = up(bench)
    bench.run("supervisor", "stop", check=True)
    os.kill(bench.pids("shop")["n2"], signal.SIGKILL)
    done = shop.prove("--most", "harmless")
    assert done.code == 4, done.err
    outcomes = {each["id"]: each["verdict"]["outcome"] for each in done.facts["findings"]}
    assert outcomes["connectivity.topology"] == "not kept"
    assert outcomes["security.rights"] == "kept"
    assert outcomes["security.addresses"] == "not provable here"  # nobody tells what is enforced
    done = shop.prove("--only", "availability")
    assert done.code == 0, done.err
    verdict = next(
        each["verdict"] for each in done.facts["findings"] if each["id"] == "availability.primary-killed"
    )
    assert verdict["outcome"] == "not provable here"
    assert "its supervisor running" in verdict["why"]
    assert "start it with holdfast up" in verdict["why"]
    os.kill(bench.pids("shop")["n1"], signal.SIGKILL)
    done = shop.prove()
    assert done.code == 1
    assert "nothing can be proved" in done.err
    assert "holdfast up" in done.err


@pytest.mark.long
def test_promises_that_are_missing_are_not_kept_by_default(bench: Bench) -> None:
    shop = up(bench, Shape(mode="standalone", replicas=0, promises="{}"))
    done = shop.prove("--only", "performance.latency", "--only", "performance.most", "--only", "availability")
    assert done.code == 0, done.err
    outcomes = {each["id"]: each["verdict"] for each in done.facts["findings"]}
    for check in (
        "performance.latency",
        "performance.most",
        "availability.promise",
        "availability.cold-start",
    ):
        assert outcomes[check]["outcome"] == "not provable here", check
    assert "declare topology.replicas" in outcomes["availability.primary-killed"]["why"]


@pytest.mark.long
def test_a_cache_that_dies_in_the_middle_of_a_check(bench: Bench) -> None:
    """The check failed, with its traceback in the evidence; the others go on; the exit code is not 0."""
    shop = up(bench, Shape(mode="standalone", replicas=0))
    bench.run("supervisor", "stop", check=True)
    running = bench.begin(
        "prove",
        str(shop.path),
        "--json",
        "--for",
        "8s",
        "--only",
        "performance.latency",
        "--only",
        "connectivity.topology",
    )
    time.sleep(5)
    os.kill(bench.pids("shop")["n1"], signal.SIGKILL)
    out, err = running.communicate(timeout=100)
    facts = json.loads(out)
    found = {each["id"]: each for each in facts["findings"]}
    verdict = found["performance.latency"]["verdict"]
    if verdict["outcome"] == "check failed":
        assert "Traceback" in found["performance.latency"]["traceback"]
        assert running.returncode == 1, err
    else:  # it died so late that there was something to judge
        assert verdict["outcome"] == "not kept"
        assert running.returncode == 4
    assert Path(facts["folder"], "report.html").exists()


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)], ids=["ctrl-c", "term"]
)
def test_an_end_while_primaries_are_halted_puts_them_back_and_says_so(
    bench: Bench, number: signal.Signals
) -> None:
    shop = up(bench, Shape(mode="cluster", node_timeout="15s"))
    running = bench.begin(
        "prove", str(shop.path), "--only", "availability.minority", "--to", str(bench.folder / "run")
    )
    pids = bench.pids("shop")
    until(lambda: sum(_halted(pid) for pid in pids.values()) == 5, 60)
    running.send_signal(number)
    out, err = running.communicate(timeout=100)
    assert running.returncode == 130, (out, err)
    assert "nodes run on" in out
    assert "the supervisor watches again" in out
    assert not any(_halted(pid) for pid in bench.pids("shop").values())
    until(lambda: bench.run("status", "shop").code == 0, 60)
    os.kill(bench.pids("shop")["n1"], signal.SIGKILL)  # it is watched over again
    until(lambda: len(bench.pids("shop")) == 6, 30)
    facts = json.loads((bench.folder / "run" / "evidence.json").read_text())
    assert facts["interrupted"] is True


@pytest.mark.long
def test_a_run_that_is_killed_leaves_nothing_halted(bench: Bench) -> None:
    shop = up(bench, Shape(mode="cluster", node_timeout="15s"))
    running = bench.begin("prove", str(shop.path), "--only", "availability.minority")
    pids = bench.pids("shop")
    until(lambda: sum(_halted(pid) for pid in pids.values()) == 5, 60)
    running.kill()
    running.communicate(timeout=10)
    until(lambda: not any(_halted(pid) for pid in pids.values()), 10)
    bench.run("up", str(shop.path), check=True)
    until(lambda: bench.run("status", "shop").code == 0, 60)
    os.kill(bench.pids("shop")["n1"], signal.SIGKILL)
    until(lambda: len(bench.pids("shop")) == 6, 30)


def _halted(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False


def test_no_room_for_the_evidence(bench: Bench) -> None:
    """The verdicts are told all the same, and the exit code is not 0."""
    shop = up(bench, Shape(mode="standalone", replicas=0))
    done = subprocess.run(
        [sys.executable, "-m", "holdfast.cli.main", "prove", str(shop.path), "--only", "connectivity"],
        env=bench.environ, cwd=bench.folder, capture_output=True, text=True, timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )  # fmt: skip
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert "kept" in done.stdout
    assert "evidence was not written" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.long
def test_elsewhere_than_here_nothing_is_killed_without_the_name_typed(bench: Bench) -> None:
    shop = up(bench, Shape(mode="standalone", replicas=0))
    away = replace(shop.shape, extra="place: {kind: external, external: {endpoints: ['127.0.0.1:1']}}\n")
    other = bench.spec(away.text, "away.yaml")
    done = bench.run("prove", str(other), "--only", "availability", "--disrupt", stdin="wrong\n")
    assert done.code == 2, done.err
    assert "was not typed" in done.err


@pytest.mark.long
def test_a_cache_that_holdfast_did_not_start(bench: Bench) -> None:
    shop = up(bench, Shape(mode="cluster", replicas=1))
    member = bench.record("shop")["members"][0]
    word = bench.folder / "word"
    word.write_text((bench.state / "caches" / "shop" / "passwords" / "operator").read_text())
    elsewhere = dict(bench.environ) | {"HOLDFAST_STATE": str(bench.folder / "empty")}
    done = subprocess.run(
        [
            sys.executable, "-m", "holdfast.cli.main", "prove", str(shop.path), "--json", "--user", "operator",
            "--url", f"redis://{member['address']}:{member['port']}", "--password-file", str(word),
        ],
        env=elsewhere, cwd=bench.folder, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.stdout, done.stderr
    facts = json.loads(done.stdout)
    outcomes = {each["id"]: each["verdict"]["outcome"] for each in facts["findings"]}
    verdicts = {each["id"]: each["verdict"] for each in facts["findings"]}
    assert outcomes["connectivity.topology"] == "kept", verdicts["connectivity.topology"]
    assert outcomes["security.authentication"] == "kept"
    assert outcomes["connectivity.services"] == "kept"
    assert outcomes["durability.config"] == "kept"
    assert outcomes["security.rights"] == "not provable here"
    assert outcomes["performance.latency"] == "skipped"
    assert outcomes["availability.primary-killed"] == "skipped"
    assert len(bench.pids("shop")) == 6


CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
int clock_gettime(clockid_t which, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    struct timespec steady;
    int failed = real(which, now);
    if (!failed && which == CLOCK_REALTIME && !real(CLOCK_MONOTONIC, &steady))
        now->tv_sec += steady.tv_sec / 2 % 2 ? 3600 : -3600;
    return failed;
}
"""
"""The wall clock an hour ahead and an hour behind, every two seconds another."""


@pytest.mark.long
def test_a_wall_clock_that_jumps_hours_back_and_forth(bench: Bench) -> None:
    """For `prove` and its load processes; the cache and its supervisor run by the right one."""
    library = compiled(CLOCK, bench.folder)
    shop = up(bench)
    bench.environ["LD_PRELOAD"] = str(library)
    words = [f"--only={check}" for check in JUMPED]
    done = shop.prove(*words)
    del bench.environ["LD_PRELOAD"]
    assert done.code == 0, (done.out, done.err)
    found = {each["id"]: each for each in done.facts["findings"] if each["id"] in JUMPED}
    for check, finding in found.items():
        assert finding["verdict"]["outcome"] == "kept", finding
        assert 0 <= finding["took_s"] < 100, check
    load = found["performance.latency"]["measured"]
    assert 0 < load["overall"]["percentiles_ms"]["50"] < load["overall"]["max_ms"] < 60_000
    for check in ("availability.replica-killed", "availability.primary-killed"):
        measured = found[check]["measured"]
        assert 0 < measured["gap_ms"] < 60_000
        assert measured["ledger"]["lost_without_wait"] == 0


JUMPED = (
    "connectivity.services",
    "security.audit",
    "security.refusals-kept",
    "durability.disk-full",
    "performance.latency",
    "availability.replica-killed",
    "availability.primary-killed",
)


@pytest.mark.long
def test_two_runs_side_by_side(bench: Bench) -> None:
    shop = up(bench, Shape(mode="standalone", replicas=0))
    first = shop.prove("--only", "durability.config")
    again = shop.prove("--only", "durability.config")
    same = bench.run("prove", "diff", first.facts["folder"], again.facts["folder"])
    assert (same.code, "No verdict and no figure differs" in same.out) == (0, True)
    shop.on_all("CONFIG", "SET", "maxmemory", "1mb")
    worse = shop.prove("--only", "durability.config")
    done = bench.run("prove", "diff", first.facts["folder"], worse.facts["folder"], "--json")
    assert done.code == 4
    assert [each["id"] for each in done.facts["differences"]] == ["durability.config"]
    assert evidence_of(worse)["outcomes"]["not kept"] == 1


@pytest.mark.long
def test_a_whole_run_leaves_the_cache_as_it_was(bench: Bench) -> None:
    """Everything, on a cache that holds somebody's data."""
    need("valkey-9.1")
    shop = up(
        bench,
        Shape(
            mode="cluster", node_timeout="5s", promises="{failover: 30s, rto: 5m, rpo: 5m, availability: 90%}"
        ),
    )
    for number in range(MINE):
        bench.run("call", "shop", "SET", f"cart:mine{number}", str(number), check=True)
    done = shop.prove(bound_s=500)
    assert done.code in {0, 4}, done.err
    found = {each["id"]: each["verdict"] for each in done.facts["findings"]}
    assert not [name for name, verdict in found.items() if verdict["outcome"] == "check failed"], found
    until(lambda: bench.run("status", "shop").code == 0, 60)
    for number in range(MINE):
        assert bench.run("call", "shop", "GET", f"cart:mine{number}").out.strip() == str(number)
    keys = sum(node["keys"] for node in bench.status("shop")["nodes"] if node["role"] == "primary")
    assert keys == MINE
