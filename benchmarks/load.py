"""How much the load generator offers, and whether its figures are those of redis-benchmark on the same server.

Targets: 30,000 commands per second on 50 connections, 100,000 in pipelines of 16, on two cores that the server shares;
percentiles within 10 % of redis-benchmark's. redis-benchmark (7.0) has no fixed rate: it is compared closed loop, both
with 50 clients that send as soon as they have their answer, one after the other in the same run.
"""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
from collections.abc import Sequence
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
CLIENTS = 50
ROUNDS, QUICK_ROUNDS = 5, 1
SECONDS, QUICK_SECONDS = 5, 2
PEER_REQUESTS, QUICK_PEER_REQUESTS = 200_000, 20_000
BOUND_S = 120.0


@dataclass(frozen=True)
class Figures:
    """One load."""

    rate_per_s: float
    p50_ms: float
    p99_ms: float
    words: str = ""


def run(at_hand: dict[str, EngineBuild], wanted: Sequence[str], *, quick: bool) -> Section:
    """Measure both offers and the comparison."""
    machine = this_machine()
    name = next((each for each in (*wanted, ENGINE, *at_hand) if each in at_hand), "")
    if not name:
        raise CommandFailed("no engine is at hand")
    rounds, seconds = (QUICK_ROUNDS, QUICK_SECONDS) if quick else (ROUNDS, SECONDS)
    requests = QUICK_PEER_REQUESTS if quick else PEER_REQUESTS
    peer = shutil.which(PEER)
    offers: dict[str, list[Figures]] = {}
    with workshop() as shop:
        gets = _spec(shop, at_hand[name])
        for _ in range(rounds):
            for title, words in (
                (f"30,000/s, {CLIENTS} connections", ("--rate", "30000")),
                ("100,000/s, pipelines of 16", ("--rate", "100000", "--pipeline", "16")),
                (f"holdfast bench, as many as {CLIENTS} clients get", ("--rate", "0")),
            ):
                offers.setdefault(title, []).append(_ours(shop, gets, seconds, words))
                say(f"{title}: {offers[title][-1].rate_per_s:,.0f}/s")
            if peer is not None:
                title = f"{PEER} -c {CLIENTS} -t get"
                offers.setdefault(title, []).append(_peer(shop, peer, requests))
                say(f"{title}: {offers[title][-1].rate_per_s:,.0f}/s")
    rows = [
        [
            title,
            *Spread(tuple(each.rate_per_s for each in figures)).cells(0),
            *(f"{Spread(tuple(getattr(each, field) for each in figures)).median:.3f}" for field in ("p50_ms", "p99_ms")),
            next((each.words for each in figures if each.words), ""),
        ]
        for title, figures in offers.items()
    ]  # fmt: skip
    text = [
        str(machine),
        f"{name}, one node without TLS, GET of 64 bytes, server and load on the same cores.",
        table(["load", "answers/s", "min", "max", "p50 ms", "p99 ms", "who was the limit"], rows),
    ]
    if peer is None:
        text.append(f"{PEER} is not here (apt-get install redis-tools), so nothing was compared.")
    return Section(NAME, "Load generator", "\n\n".join(text))


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
    return Figures(facts["rate_per_s"], percentiles["50"], percentiles["99"], facts["limit"])


def _peer(shop: Workshop, program: str, requests: int) -> Figures:
    """redis-benchmark on the same server, by its CSV line for GET."""
    node = shop.status("load")["nodes"][0]
    # It takes a password on its command line only; the throwaway cache lets it in without one instead.
    shop.holdfast("call", "load", "ACL", "SETUSER", "default", "on", "nopass", "+@all", "~*")
    done = subprocess.run(
        [program, "-h", node["address"], "-p", str(node["port"]), "-c", str(CLIENTS), "-n", str(requests), "-d", "64",
         "-r", "10000", "-t", "get", "--csv"],
        env=shop.environ, capture_output=True, text=True, timeout=BOUND_S, check=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    for row in csv.DictReader(io.StringIO(done.stdout)):
        if row.get("test") == "GET":
            return Figures(float(row["rps"]), float(row["p50_latency_ms"]), float(row["p99_latency_ms"]))
    raise CommandFailed(f"{PEER} said nothing of GET: {done.stderr[-300:]}")
