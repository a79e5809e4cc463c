"""How much the load generator offers, whether its figures are those of other generators on the same server, and whether
they are true where the truth is known.

Targets: 30,000 commands per second on 50 connections, 100,000 in pipelines of 16, on two cores that the server shares;
percentiles within 10 % of a peer's at a fixed rate. valkey-benchmark has a rate from 9.0 on (`--rps`) and is measured in
turn with ours; redis-benchmark (7.0) has none and is compared with both sides sending as soon as they have an answer. A
server that is halted for a tenth of every second has percentiles that can be computed.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import this_machine
from benchmarks.results import Section, Spread, table
from benchmarks.workshop import CommandFailed, Workshop, say, workshop
from holdfast.engine.build import EngineBuild

NAME = "load"
ENGINE = "valkey-9.1"
PEER = "redis-benchmark"
PACED_PEER = "valkey-benchmark"
RATES = (1000, 10_000, 30_000)
STALL_RATE = 10_000
STALL_S, STALL_EVERY_S = 0.1, 1.0
CLIENTS = 50
ROUNDS, QUICK_ROUNDS = 3, 1
SECONDS, QUICK_SECONDS = 3, 2
PEER_REQUESTS, QUICK_PEER_REQUESTS = 200_000, 20_000
BOUND_S = 120.0


@dataclass(frozen=True)
class Figures:
    """One load."""

    rate_per_s: float
    p50_ms: float
    p99_ms: float
    words: str = ""
    late_p99_ms: float = 0.0
    """By how much our own processes were late."""


def run(at_hand: dict[str, EngineBuild], wanted: Sequence[str], *, quick: bool) -> Section:
    """Measure both offers and the comparison."""
    machine = this_machine()
    name = next((each for each in (*wanted, ENGINE, *at_hand) if each in at_hand), "")
    if not name:
        raise CommandFailed("no engine is at hand")
    rounds, seconds = (QUICK_ROUNDS, QUICK_SECONDS) if quick else (ROUNDS, SECONDS)
    requests = QUICK_PEER_REQUESTS if quick else PEER_REQUESTS
    peer, paced = shutil.which(PEER), _with_a_rate()
    offers: dict[str, list[Figures]] = {}
    fixed: dict[tuple[int, str], list[Figures]] = {}
    stalled: dict[str, list[Figures]] = {}
    with workshop() as shop:
        gets = _spec(shop, at_hand[name])
        for _ in range(rounds):
            for title, words in (
                (f"30,000/s, {CLIENTS} connections", ("--rate", "30000")),
                ("100,000/s, pipelines of 16", ("--rate", "100000", "--pipeline", "16")),
                (f"holdfast bench, as many as {CLIENTS} clients get", ("--rate", "0")),
            ):
                _told(offers, title, _ours(shop, gets, seconds, words))
            if peer is not None:
                _told(offers, f"{PEER} -c {CLIENTS} -t get", _peer(shop, [peer, "-n", str(requests)]))
            for rate in RATES:
                _told(fixed, (rate, "holdfast bench"), _ours(shop, gets, seconds, ("--rate", str(rate))))
                if paced is not None:
                    _told(fixed, (rate, PACED_PEER), _peer(shop, [paced, *_paced(rate, seconds)]))
            with _halted(shop):
                _told(stalled, "holdfast bench", _ours(shop, gets, seconds, ("--rate", str(STALL_RATE))))
                if paced is not None:
                    _told(stalled, PACED_PEER, _peer(shop, [paced, *_paced(STALL_RATE, seconds)]))
    text = [
        str(machine),
        f"{name}, one node without TLS, GET of 64 bytes, server and load on the same cores; {rounds} runs of {seconds} s each, "
        "medians.",
        table(
            ["load", "answers/s", "min", "max", "p50 ms", "p99 ms", "who was the limit"],
            [
                [title, *Spread(tuple(each.rate_per_s for each in figures)).cells(0), *_percentiles(figures),
                 next((each.words for each in figures if each.words), "")]
                for title, figures in offers.items()
            ],
        ),
        *_fixed_text(fixed, paced),
        *_stalled_text(stalled),
    ]  # fmt: skip
    if peer is None:
        text.append(
            f"{PEER} is not here (apt-get install redis-tools), so nothing was compared without a rate."
        )
    return Section(NAME, "Load generator", "\n\n".join(text))


def _told(kept: dict[Any, list[Figures]], key: Any, figures: Figures) -> None:
    kept.setdefault(key, []).append(figures)
    say(f"{key}: {figures.rate_per_s:,.0f}/s, p50 {figures.p50_ms:.3f}, p99 {figures.p99_ms:.3f} ms")


def _percentiles(figures: Sequence[Figures]) -> tuple[str, str]:
    return f"{_median(figures, 'p50_ms'):.3f}", f"{_median(figures, 'p99_ms'):.3f}"


def _median(figures: Sequence[Figures], field: str) -> float:
    return Spread(tuple(getattr(each, field) for each in figures)).median


def _fixed_text(fixed: dict[tuple[int, str], list[Figures]], paced: str | None) -> list[str]:
    rows = []
    for rate in RATES:
        ours = fixed[rate, "holdfast bench"]
        rows.append(
            [f"{rate:,}/s", "holdfast bench", *_percentiles(ours), f"{_median(ours, 'late_p99_ms'):.3f}", ""]
        )
        if (peers := fixed.get((rate, PACED_PEER))) is not None:
            off = [
                f"{_median(ours, field) / _median(peers, field) - 1:+.0%}" for field in ("p50_ms", "p99_ms")
            ]
            rows.append([f"{rate:,}/s", PACED_PEER, *_percentiles(peers), "", f"{off[0]}, {off[1]}"])
    told = (
        "At a fixed rate, in turn. *Late*: by how much Holdfast's own processes were late with a command (it is part of its "
        "latency, for a command is due by the clock); the last column is how far Holdfast's p50 and p99 lie from the peer's."
    )
    if paced is None:
        told += f" {PACED_PEER} 9.0 and up is not here (Debian 14: valkey-tools), so nothing was compared."
    else:
        version = subprocess.run(
            [paced, "--version"], capture_output=True, text=True, timeout=10, check=False
        )
        told += (
            f" {version.stdout.strip()} gives its connections leave to send by a timer of a millisecond and counts from when it sent: at "
            "30,000/s thirty commands leave together and wait for one another, where Holdfast's are spread evenly and count "
            "from when they were due. So the two measure the same only as far as arrivals and clocks agree: within 10 % is not "
            "reached on a loopback, where the whole latency is a wake-up or two of the measuring process."
        )
    return [told, table(["rate", "by", "p50 ms", "p99 ms", "late p99 ms", "Holdfast's from this"], rows)]


def _stalled_text(stalled: dict[str, list[Figures]]) -> list[str]:
    share = STALL_S / STALL_EVERY_S
    truth_ms = STALL_S * 1000 * (1 - 0.01 / share)
    told = (
        f"Where the truth is known: the server is halted {STALL_S * 1000:.0f} ms of every {STALL_EVERY_S:g} s, and {STALL_RATE:,} commands "
        f"a second are due all the while. {share:.0%} of them meet a halt and wait for what is left of it, so p99 is {truth_ms:.0f} ms (and "
        f"a little more for catching up). A generator that sends nothing on a connection that waits sees {CLIENTS} of them, one for each "
        "connection (coordinated omission)."
    )
    rows = [
        [by, *_percentiles(figures), f"{_median(figures, 'p99_ms') / truth_ms - 1:+.0%}"]
        for by, figures in stalled.items()
    ]
    return [told, table(["by", "p50 ms", "p99 ms", "p99 from the truth"], rows)]


def _with_a_rate() -> str | None:
    """valkey-benchmark, where it is one that has a rate."""
    found = shutil.which(PACED_PEER)
    if found is None:
        return None
    done = subprocess.run([found, "--help"], capture_output=True, text=True, timeout=10, check=False)
    return found if "--rps" in done.stdout else None


def _paced(rate: int, seconds: int) -> list[str]:
    return ["-n", str(rate * seconds), "--rps", str(rate), "--precision", "3"]


@contextmanager
def _halted(shop: Workshop) -> Iterator[None]:
    """The server stands still for a part of every second."""
    (file,) = shop.state.glob("nodes/load/*/node.json")
    pid = int(json.loads(file.read_text())["identity"]["pid"])
    ends = threading.Event()

    def halt() -> None:
        while not ends.wait(STALL_EVERY_S - STALL_S):
            os.kill(pid, signal.SIGSTOP)
            ends.wait(STALL_S)
            os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=halt)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        thread.join()
        os.kill(pid, signal.SIGCONT)


def _spec(shop: Workshop, build: EngineBuild) -> Path:
    spec = shop.folder / "load.yaml"
    version = ".".join(str(part) for part in build.version[:2])
    spec.write_text(
        f'format: 1\ncache: {{name: load}}\nengine: {{name: {build.name}, version: "{version}"}}\n'
        "memory: {maxmemory: 256mb}\npersistence: {rdb: {enabled: false}}\n"
    )
    shop.holdfast("up", str(spec))
    gets = shop.folder / "gets.yaml"
    gets.write_text('flows: {plain: {pattern: "plain:{id}", keys: 10000, value: 64, commands: {GET: 1}}}\n')
    return gets


def _ours(shop: Workshop, gets: Path, seconds: int, words: Sequence[str]) -> Figures:
    facts: Any = shop.holdfast(
        "bench", "load", "--workload", str(gets), "--for", f"{seconds}s", "--clients", str(CLIENTS), *words, "--json",
        bound_s=BOUND_S,
    ).facts  # fmt: skip
    percentiles = facts["overall"]["percentiles_ms"]
    return Figures(
        facts["rate_per_s"], percentiles["50"], percentiles["99"], facts["limit"], facts["client_late_p99_ms"]
    )


def _peer(shop: Workshop, words: Sequence[str]) -> Figures:
    """redis-benchmark or valkey-benchmark on the same server, by its CSV line for GET."""
    node = shop.status("load")["nodes"][0]
    # It takes a password on its command line only; the throwaway cache lets it in without one instead.
    shop.holdfast("call", "load", "ACL", "SETUSER", "default", "on", "nopass", "+@all", "~*")
    done = subprocess.run(
        [*words, "-h", node["address"], "-p", str(node["port"]), "-c", str(CLIENTS), "-d", "64", "-r", "10000", "-t", "get",
         "--csv"],
        env=shop.environ, capture_output=True, text=True, timeout=BOUND_S, check=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    for row in csv.DictReader(io.StringIO(done.stdout)):
        if row.get("test") == "GET":
            return Figures(float(row["rps"]), float(row["p50_latency_ms"]), float(row["p99_latency_ms"]))
    raise CommandFailed(f"{words[0]} said nothing of GET: {done.stderr[-300:]}")
