"""What `holdfast prove` does: opens the cache, runs the checks, tells of them as they end, and writes the evidence."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import typer

from holdfast import __version__
from holdfast.cli.console import err, show, stdout
from holdfast.cli.exit import ExitCode
from holdfast.cli.opening import Named, named, opened
from holdfast.cli.prove_views import block_of, checks_table, diff_text, line_of, summary_text
from holdfast.errors import HoldfastError, WrongUsage
from holdfast.prove.catalog import CHECKS
from holdfast.prove.check import Check, Disturbs
from holdfast.prove.evidence import Evidence, Finding, differences
from holdfast.prove.experiment import GAPS, NotWhole, steady
from holdfast.prove.folder import machine_facts, place_for, read_run, write_run
from holdfast.prove.plan import Wish, plan
from holdfast.prove.runner import Outcomes, Told, run_checks
from holdfast.prove.stage import Stage
from holdfast.prove.target import Elsewhere, situation_of, stage_elsewhere
from holdfast.prove.verdict import Outcome
from holdfast.spec.place import PlaceKind
from holdfast.state import NotWritten, StateFolder
from holdfast.supervisor.protocol import HostUnreachable
from holdfast.topology.live import LiveCache
from holdfast.topology.observe import Access

INTERRUPTED = 130


@dataclass(frozen=True)
class Asked:
    """The command's own words."""

    words: Sequence[str]
    only: tuple[str, ...] = ()
    load_s: float = 5.0
    most: str = Disturbs.DISRUPTIVE.value
    disrupt: bool = False
    url: str = ""
    user: str = ""
    password_file: Path | None = None
    ca_file: Path | None = None
    to: Path | None = None
    place: str | None = None


@dataclass
class Proved:
    """A run that has ended."""

    evidence: Evidence
    folder: Path | None
    """None where it could not be written."""
    not_written: str = ""
    exit_code: int = 0


def list_all(*, as_json: bool) -> None:
    """Print every check."""
    facts = [
        {
            "id": check.id,
            "title": check.title,
            "promise": check.promise,
            "disturbs": check.disturbs.value,
            "takes_s": check.takes_s,
            "needs": sorted(need.value for need in check.needs),
            "checklist": list(check.seed),
        }
        for check in CHECKS
    ]
    show(facts, checks_table(CHECKS), as_json=as_json)


def diff(runs: Sequence[str], *, as_json: bool) -> None:
    """Print what two runs differ in; exit code 4 when something got worse."""
    if len(runs) != 2:
        raise WrongUsage("diff compares two runs", "name two folders: holdfast prove diff A B")
    before, after = (read_run(Path(each)) for each in runs)
    found = differences(before, after)
    from dataclasses import asdict

    facts = {
        "before": before.at,
        "after": after.at,
        "same_spec": before.spec_digest == after.spec_digest,
        "differences": [asdict(each) | {"worse": each.is_worse} for each in found],
    }
    show(facts, diff_text(before, after, found), as_json=as_json)
    raise typer.Exit(ExitCode.PROMISE_BROKEN if any(each.is_worse for each in found) else ExitCode.OK)


def prove(asked: Asked, *, as_json: bool) -> NoReturn:
    """Run and print; ends with the exit code."""
    given = named(_which(asked), asked.place)
    wish = _wish(asked, given)
    proved = asyncio.run(_work(asked, given, wish, quiet=as_json))
    facts = proved.evidence.to_json() | {
        "folder": str(proved.folder) if proved.folder else None,
        "not_written": proved.not_written,
    }
    show(facts, summary_text(proved.evidence, proved.folder, proved.not_written), as_json=as_json)
    raise typer.Exit(proved.exit_code)


def _which(asked: Asked) -> str:
    if len(asked.words) > 1:
        raise WrongUsage(f"prove takes one cache, not {len(asked.words)}", "name one, or say: prove diff A B")
    if asked.words:
        return asked.words[0]
    names = StateFolder.open().cache_names()
    if len(names) != 1:
        known = ", ".join(names) or "none is up"
        raise WrongUsage(f"which cache is meant is not clear ({known})", "name it, or its spec file")
    return names[0]


def _wish(asked: Asked, given: Named) -> Wish:
    levels = [each.value for each in Disturbs]
    if asked.most not in levels:
        raise WrongUsage(f"--most {asked.most} is no level", f"write one of {', '.join(levels)}")
    most = Disturbs(asked.most)
    why = f"--most {asked.most}" if most is not Disturbs.DISRUPTIVE else ""
    if asked.url:
        return Wish(
            asked.only, Disturbs.HARMLESS, "only harmless checks run on a cache that Holdfast did not start"
        )
    name = given.loaded.spec.cache.name
    if given.loaded.spec.place.kind is not PlaceKind.LOCAL and most is Disturbs.DISRUPTIVE:
        if not asked.disrupt:
            return Wish(
                asked.only, Disturbs.LOAD, "nodes are killed only with --disrupt, for it is not place: local"
            )
        err(f"Nodes of {name} will be killed. Type its name to go on:")
        if sys.stdin.readline().strip() != name:
            raise WrongUsage(
                f"the name of {name} was not typed, so nothing was done", "type it, or leave --disrupt out"
            )
    return Wish(asked.only, most, why)


@asynccontextmanager
async def _stage(asked: Asked, given: Named, tell: Callable[[str], None]) -> AsyncIterator[Stage]:
    if asked.url:
        elsewhere = Elsewhere(asked.url, asked.user, asked.password_file, asked.ca_file)
        yield await stage_elsewhere(given.loaded.spec, elsewhere, tell)
        return
    given.store.record()  # a cache that never came up is said to be unknown, and not its engines to be wrong
    async with contextlib.AsyncExitStack() as stack:
        live: LiveCache | None = None
        try:
            live = await stack.enter_async_context(opened(given, start=False))
        except HostUnreachable as away:
            err(f"holdfast: {away}; what needs the supervisor is not proved")
        yield stage_of(given, live, asked.load_s, tell)


def stage_of(
    given: Named,
    live: LiveCache | None,
    load_s: float,
    tell: Callable[[str], None],
) -> Stage:
    """The stage of a cache that Holdfast has made."""
    spec, store = given.loaded.spec, given.store
    record = live.record if live is not None else store.record()
    return Stage(
        spec=spec,
        record=record,
        access=Access(store.own_credentials(), store.trust(tls_on=record.tls)),
        hosts=live.hosts if live is not None else {},
        secrets=store.passwords(),
        state=given.state,
        live=live,
        load_s=load_s,
        tell=tell,
    )


@contextlib.contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGTERM (a job's time is over) and SIGHUP (the terminal has gone) as Ctrl-C: what was disturbed is put back first."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    numbers = (signal.SIGTERM, signal.SIGHUP)
    if task is not None:
        for number in numbers:
            loop.add_signal_handler(number, task.cancel)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def _work(asked: Asked, given: Named, wish: Wish, *, quiet: bool) -> Proved:
    teller = _Teller(quiet=quiet)
    with contextlib.ExitStack() as held:
        held.enter_context(_ended_in_order())
        if wish.most is Disturbs.DISRUPTIVE and not asked.url:
            held.enter_context(given.store.alone())
        async with _stage(asked, given, teller.note) as stage:
            with teller:
                return await prove_stage(stage, wish, given, teller, to=asked.to)


async def prove_stage(stage: Stage, wish: Wish, given: Named, teller: _Teller, *, to: Path | None) -> Proved:
    """Plan, run and write the evidence."""
    at, began_s = datetime.now(UTC), time.monotonic()
    planned = plan(CHECKS, wish, await situation_of(stage))
    seen = await stage.look()
    if not any(node.is_up for node in seen.nodes):
        away = "; ".join(f"{node.name}: {node.words or node.reach.value}" for node in seen.nodes[:3])
        raise HoldfastError(
            f"no node of {stage.record.name} answers, so nothing can be proved ({away}): bring it up with holdfast up"
        )
    outcomes = await run_checks(planned, stage, Told(teller.begins, teller.ends))
    evidence = Evidence(
        cache=stage.record.name,
        at=at.isoformat(timespec="seconds"),
        took_s=round(time.monotonic() - began_s, 1),
        holdfast=__version__,
        spec_digest=given.loaded.digest,
        engine=stage.record.engine,
        nodes={node.name: f"{node.engine} {node.version}" for node in seen.servers if node.is_up},
        machine=machine_facts(),
        findings=tuple(outcomes.findings),
        interrupted=outcomes.interrupted,
        notes=tuple(outcomes.notes),
        files=tuple(Path(each).name for each in given.loaded.files),
    )
    folder = to or place_for(given.state, stage.record.name, at)
    not_written = ""
    try:
        await asyncio.to_thread(write_run, folder, evidence)
    except NotWritten as failed:
        not_written = str(failed)
    return Proved(
        evidence,
        None if not_written else folder,
        not_written,
        exit_code(outcomes, not_written=bool(not_written)),
    )


QUICK_LOAD_S = 2.0
QUICK = ("connectivity", "security", "durability.config", "performance.latency", "availability.promise")


async def prove_quickly(
    given: Named, cache: LiveCache, gaps_ms: Mapping[str, float], note: Callable[[str], None]
) -> Proved:
    """The harmless checks and a small load, on a cache that was just made. Args: `gaps_ms`, what was measured already."""
    stage = stage_of(given, cache, QUICK_LOAD_S, note)
    stage.shared[GAPS] = dict(gaps_ms)
    with contextlib.suppress(NotWhole):  # then the checks say so themselves
        await steady(stage)
    wish = Wish(QUICK, Disturbs.LOAD)
    return await prove_stage(stage, wish, given, _Teller(quiet=True), to=None)


def exit_code(outcomes: Outcomes, *, not_written: bool) -> int:
    """0 only where every check that ran came to a verdict, none of them bad, and the evidence is there."""
    seen = {finding.verdict.outcome for finding in outcomes.findings}
    if outcomes.interrupted:
        return INTERRUPTED
    if Outcome.NOT_KEPT in seen:
        return ExitCode.PROMISE_BROKEN
    return ExitCode.FAILED if Outcome.FAILED in seen or not_written else ExitCode.OK


@dataclass
class _Teller:
    """Says what is being done, and each verdict as it comes."""

    quiet: bool
    _status: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _spin: Callable[[str], None] = lambda _: None
    _check: Check | None = None

    def __enter__(self) -> _Teller:
        if not self.quiet and sys.stdout.isatty():
            status = stdout().status("")
            self._status.enter_context(status)
            self._spin = status.update
        return self

    def __exit__(self, *failure: object) -> None:
        self._status.close()

    def begins(self, check: Check) -> None:
        self._check = check
        self._spin(f"{check.id}  {check.title}")

    def note(self, words: str) -> None:
        if self._check is not None:
            self._spin(f"{self._check.id}  {words}")

    def ends(self, finding: Finding) -> None:
        if not self.quiet and finding.verdict.outcome is not Outcome.SKIPPED:
            stdout().print(block_of(finding) if sys.stdout.isatty() else line_of(finding))
