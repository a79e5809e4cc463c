"""How long one look at a cache takes, as observe() counts it and as the whole command `holdfast status` takes.

Targets: 6 nodes in under 100 ms, 100 nodes in under 1 s. Where the command is slower than its look, its parts say why:
interpreter, imports, the spec, the look, and what is left.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bring_up import BENCH_NAME, phonebill
from benchmarks.machine import this_machine
from benchmarks.results import Section, Spread, table, verdict
from benchmarks.workshop import ROOT, CommandFailed, Workshop, engine_lines, say, workshop
from holdfast.engine.build import EngineBuild

NAME = "status"
ENGINE = "valkey-8.0"
"""One that has TLS, so that the rows differ in that only."""
LOOKS = 20
TARGET_MS, MANY_TARGET_MS = 100.0, 1000.0
MANY_SHARDS, QUICK_MANY_SHARDS = 50, 6
MANY_NAME = "many-nodes"
MANY_BOUND_S = 900.0
COMMAND_BOUND_S = 60.0


@dataclass(frozen=True)
class Measured:
    """One cache, looked at many times."""

    what: str
    target_ms: float
    observed: Spread
    """observe() alone, one process, a new connection to every node each time."""
    looks: Spread
    """The same and what status asks besides (processes, packet filter)."""
    command: Spread
    """`holdfast status --json`, from its start to its end."""
    parts: dict[str, Spread]
    """Of as many runs in processes of their own."""


def run(at_hand: dict[str, EngineBuild], wanted: Sequence[str], *, quick: bool) -> Section:
    """Measure a cache of 6 nodes with and without TLS, and one of 100."""
    machine = this_machine()
    name = next((each for each in (*wanted, ENGINE, *at_hand) if each in at_hand), "")
    if not name:
        raise CommandFailed("no engine is at hand")
    build = at_hand[name]
    shards = QUICK_MANY_SHARDS if quick else MANY_SHARDS
    looks = 5 if quick else LOOKS
    measured = []
    for tls in (True, False) if build.tls else (False,):
        with workshop() as shop:
            shop.holdfast("up", str(phonebill(shop.folder, name, tls=tls)))
            what = f"6 nodes, {'TLS' if tls else 'no TLS'}"
            measured.append(_measure(shop, BENCH_NAME, what, TARGET_MS, looks))
    with workshop() as shop:
        took = shop.holdfast("up", str(many(shop.folder, name, shards)), bound_s=MANY_BOUND_S).took_s
        say(f"{2 * shards} nodes are up after {took:.1f} s")
        measured.append(_measure(shop, MANY_NAME, f"{2 * shards} nodes, no TLS", MANY_TARGET_MS, looks))
    text = [
        f"{machine}. {build.title}.",
        "",
        f"{looks} looks each. 6 nodes are the phonebill cache, {2 * shards} a cluster of {shards} shards x 2. *Observe*: "
        "observe() in one process, with a new connection to every node each time; *look*: that, and the questions to the "
        "supervisor; *command*: `holdfast status --json`, from its start to its end. The target is judged by the median.",
        "",
        table(
            ["cache", "what", "median ms", "min ms", "max ms", "target"],
            [
                [each.what, what, *spread.cells(0), f"< {each.target_ms:.0f} ms: {judged}"]
                for each in measured
                for what, spread in (
                    ("observe", each.observed),
                    ("look", each.looks),
                    ("command", each.command),
                )
                for judged in [verdict(spread.median, each.target_ms)]
            ],
        ),
        "",
        f"The command taken apart, median of {looks} processes (ms): what no look can shorten is the interpreter's start "
        "and the imports. *Rest*: the command line's own parsing and the interpreter's end.",
        "",
        table(
            ["cache", *measured[0].parts],
            [[each.what, *(f"{spread.median:.0f}" for spread in each.parts.values())] for each in measured],
        ),
        "",
        f"Bringing up the {2 * shards} nodes took {took:.1f} s.",
    ]
    return Section(NAME, "Status", "\n".join(text))


def many(folder: Path, engine: str, shards: int) -> Path:
    """The file of a cluster of many small nodes."""
    path = folder / "cache.yaml"
    path.write_text(
        f"""\
format: 1
cache: {{name: {MANY_NAME}}}
{engine_lines(engine)}\
topology: {{mode: cluster, shards: {shards}, replicas: 1, zones: [a, b, c], node_timeout: 30s}}
memory: {{maxmemory: 4mb, replication_backlog: 64kb}}
persistence: {{rdb: {{enabled: false}}}}
security: {{tls: {{mode: off}}}}
network: {{maxclients: 500}}
place: local
"""
    )
    return path


def _measure(shop: Workshop, cache: str, what: str, target_ms: float, looks: int) -> Measured:
    shop.status(cache)  # whole, and every file it reads in the kernel's cache
    in_process = _probe(shop, cache, looks)
    command = Spread(tuple(shop.holdfast("status", cache, "--json").took_s * 1000 for _ in range(looks)))
    alone = [_probe(shop, cache, 1) for _ in range(looks)]
    parts = {
        "interpreter": Spread(tuple(each["interpreter_ms"] for each in alone)),
        "imports": Spread(tuple(each["imports_ms"] for each in alone)),
        "spec": Spread(tuple(each["spec_ms"] for each in alone)),
        "look": Spread(tuple(each["looks_ms"][0] for each in alone)),
        "of which observe": Spread(tuple(each["observed_ms"][0] for each in alone)),
        "print": Spread(tuple(each["show_ms"] for each in alone)),
    }
    known = sum(spread.median for name, spread in parts.items() if name != "of which observe")
    parts["rest"] = Spread((command.median - known,))
    parts["whole command"] = command
    observed = Spread(tuple(in_process["observed_ms"]))
    say(f"{what}: observe {observed.median:.0f} ms, command {command.median:.0f} ms")
    return Measured(what, target_ms, observed, Spread(tuple(in_process["looks_ms"])), command, parts)


def _probe(shop: Workshop, cache: str, looks: int) -> dict[str, Any]:
    """The parts of one status process. Raises: CommandFailed when it failed, or saw a cache that was not whole."""
    # ROOT on the path: the probe is a module of this folder, and its working folder is another.
    environ = shop.environ | {"PYTHONPATH": str(ROOT)}
    module = [sys.executable, "-m", "benchmarks.status_probe"]
    done = subprocess.run(
        [*module, cache, str(looks), str(time.monotonic())],
        env=environ,
        cwd=shop.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_BOUND_S * looks,
        check=False,
    )
    if done.returncode != 0:
        raise CommandFailed(f"the status probe ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    parts: dict[str, Any] = json.loads(done.stdout)
    if parts["problems"]:
        raise CommandFailed(f"{cache} is not whole: {'; '.join(parts['problems'][:3])}")
    return parts
