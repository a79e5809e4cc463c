"""How long the phonebill cache takes from nothing to `cluster_state:ok` with all replicas in sync; target under 5 s.

Every run has a new state folder: no supervisor, no passwords, no authority, no data. Only what the engines said of
themselves is remembered, as it is on every machine that has run Holdfast once. Whether the cache is whole is asked
again by `holdfast status` once the clock has stopped.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.by_hand import NotByHand, by_hand
from benchmarks.engine_cli import cli_for
from benchmarks.machine import this_machine
from benchmarks.results import Section, Spread, table, verdict
from benchmarks.workshop import ROOT, CommandFailed, ToldUp, engine_lines, say, workshop
from holdfast.cli.specfile import load_file
from holdfast.engine.build import EngineBuild

NAME = "bring_up"
ENGINES = ("valkey-8.0", "valkey-9.1", "redis-7.0", "redis-8.0")
TARGET_S = 5.0
EXAMPLE = ROOT / "examples" / "phonebill"
OWN_NAME, BENCH_NAME = "phonebill-cache-prod", "phonebill-bench"
"""Another name than the example's: a packet filter is known by its cache's name, and the user's may be up."""
FLOOR = (
    "No way is faster than 2 s from the servers' start: a primary in a cluster answers CLUSTERDOWN for that long "
    "(CLUSTER_WRITABLE_DELAY in the engines' sources), which is most of the wait for replicas below, and of the peer."
)


@dataclass(frozen=True)
class Measured:
    """All runs on one engine."""

    engine: str
    build: EngineBuild
    tls: bool
    whole: Spread
    """The command, from its start to its end."""
    ready: Spread
    """What it says itself: from the file read to the cache whole."""
    told: ToldUp
    """One more run, in text, for where the time goes."""
    peer_title: str = ""
    peer: Spread | None = None
    peer_failed: str = ""


def run(at_hand: dict[str, EngineBuild], wanted: Sequence[str], *, quick: bool) -> Section:
    """Measure every engine that is at hand and wanted."""
    machine = this_machine()
    runs = 1 if quick else 5
    measured, failed = [], []
    for name in ENGINES:
        if name not in at_hand or name not in (wanted or ENGINES):
            continue
        try:
            measured.append(_measure(name, at_hand[name], runs))
        except CommandFailed as broken:
            say(f"{name}: {broken}")
            failed.append(f"- **{name} failed**: {broken}")
    missing = [name for name in ENGINES if name not in at_hand]
    text = [
        f"{machine}.",
        "",
        f"`holdfast up` of `examples/phonebill/cache.yaml` with its overlay for one machine (3 shards x 2 nodes, three "
        f"zones, ACL users, AOF and RDB; TLS where the engine has it), {runs} runs from an empty state folder each. "
        f"Target: under {TARGET_S:g} s, by the median. *Peer*: 6 servers with the same rendered configuration but "
        "without TLS and users, started by hand, and the engine's own `--cluster create`, from the first process's "
        "start to `cluster_state:ok` on all and every replica in sync.",
        "",
        table(
            ["engine", "what", "runs", "median s", "min s", "max s", f"target < {TARGET_S:g} s"],
            [row for each in measured for row in _rows(each)],
        ),
        "",
        *failed,
        "",
        f"Where the time goes (seconds, one more run of each; the rest is the interpreter's end). {FLOOR}",
        "",
        _where_it_goes(measured),
    ]
    if missing:
        text += ["", f"Not at hand here, so not measured: {', '.join(missing)}."]
    return Section(NAME, "Bring-up of the phonebill cache", "\n".join(text))


def phonebill(folder: Path, engine: str, *, tls: bool = True) -> Path:
    """The example's file and overlay in `folder`, under the bench's cache name and for that engine."""
    for file in sorted(EXAMPLE.glob("cache*.yaml")):
        text, renamed = re.subn(rf"name: {OWN_NAME}(?=\s)", f"name: {BENCH_NAME}", file.read_text())
        if renamed != 1:
            raise CommandFailed(f"{file} does not name the cache {OWN_NAME} once, so it cannot be renamed")
        (folder / file.name).write_text(text)
    overlay = folder / "cache.local.yaml"
    text = overlay.read_text() + engine_lines(engine)
    if not tls:
        text = text.replace("mode: where_available", "mode: off")
    overlay.write_text(text)
    return folder / "cache.yaml"


def _measure(name: str, build: EngineBuild, runs: int) -> Measured:
    whole, ready = [], []
    for number in range(runs):
        with workshop() as shop:
            outcome = shop.holdfast("up", str(phonebill(shop.folder, name)), "--json")
            tls = bool(shop.status(BENCH_NAME)["tls"])
        whole.append(outcome.took_s)
        ready.append(outcome.facts["took_s"])
        say(f"{name} run {number + 1}: {outcome.took_s:.2f} s, ready after {ready[-1]:.2f} s")
    with workshop() as shop:
        told = shop.told_up(phonebill(shop.folder, name))
    title, peer, failed = _peer(name, build, runs)
    return Measured(name, build, tls, Spread(tuple(whole)), Spread(tuple(ready)), told, title, peer, failed)


def _peer(name: str, build: EngineBuild, runs: int) -> tuple[str, Spread | None, str]:
    cli = cli_for(name)
    if cli is None:
        return "", None, "no cli at hand"
    took = []
    with workshop() as shop:
        spec = load_file(phonebill(shop.folder, name, tls=False)).spec
    try:
        for number in range(runs):
            with by_hand(spec, build, cli) as servers:
                began = time.monotonic()
                servers.start(spec.topology.nodes)
                servers.create(spec.topology.replicas)
                took.append(time.monotonic() - began)
            say(f"{name} by {cli.title}, run {number + 1}: {took[-1]:.2f} s")
    except NotByHand as failed:
        return cli.title, None, str(failed)
    return cli.title, Spread(tuple(took)), ""


def _rows(each: Measured) -> Iterator[list[str]]:
    title = f"{each.engine} ({each.build.version_text})"
    secured = "TLS, users" if each.tls else "users; no TLS in this build"
    for what, spread in (
        (f"`holdfast up`, whole command ({secured})", each.whole),
        ("of which: ready, by its own clock", each.ready),
    ):
        judged = verdict(spread.median, TARGET_S)
        yield [title, what, str(len(spread.values)), *spread.cells(2), judged]
    if each.peer is None:
        yield [title, f"peer: {each.peer_failed}", "0", "", "", "", ""]
    else:
        what = f"peer: `{each.peer_title} --cluster create` (no TLS, no users)"
        yield [title, what, str(len(each.peer.values)), *each.peer.cells(2), ""]


def _where_it_goes(measured: Sequence[Measured]) -> str:
    """Seconds per kind of step, kinds in the order in which they come."""
    kinds: dict[str, dict[str, float]] = {"before the first step": {}}
    for each in measured:
        kinds["before the first step"][each.engine] = each.told.steps[0].began - each.told.began
        for step in each.told.steps:
            of_engine = kinds.setdefault(_kind(step.title), {})
            of_engine[each.engine] = of_engine.get(each.engine, 0.0) + step.took_s
        kinds.setdefault("whole", {})[each.engine] = each.told.took_s
    kinds["whole"] = kinds.pop("whole", {})
    engines = [each.engine for each in measured]
    return table(
        ["step", *engines],
        [
            [kind, *(f"{took[name]:.2f}" if name in took else "" for name in engines)]
            for kind, took in kinds.items()
        ],
    )


def _kind(title: str) -> str:
    """ "make n2 a replica of n1" and its like are one kind."""
    words = {"add": "make the nodes' files", "start": "start the servers", "join": "introduce them"}
    words |= {"give": "give the slots", "make": "make replicas", "remember": "remember the spec"}
    first = title.partition(" ")[0]
    return words.get(first, title)
