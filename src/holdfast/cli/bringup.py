"""`holdfast up`, told as it goes: a live grid of zones and shards on a terminal, a line for each step elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from holdfast.cli.console import err, show, stdout
from holdfast.cli.demonstration import Demonstration, can_demonstrate, demonstrate
from holdfast.cli.lines import number_of
from holdfast.cli.look import Report, look
from holdfast.cli.meanwhile import losses_since, now
from holdfast.cli.opening import Named, opened
from holdfast.cli.views import status_facts, status_text
from holdfast.engine.acl import acl_shortfalls
from holdfast.migrate.guard import must_be_free
from holdfast.topology.apply import converge
from holdfast.topology.live import LiveCache, Told
from holdfast.topology.open import EngineWish
from holdfast.topology.record import Kind
from holdfast.topology.steps import AddNode, StartNodes, Step
from holdfast.topology.wanted import Manner

if TYPE_CHECKING:
    from holdfast.cli.proving import Proved

MARKS = {
    "waiting": ("·", "dim"),
    "prepared": ("○", "dim"),
    "starting": ("◔", "yellow"),
    "up": ("◑", "yellow"),
    "joined": ("◕", "yellow"),
    "primary": ("●", "bold green"),
    "replica": ("●", "cyan"),
    "sentinel": ("●", "magenta"),
}


@dataclass
class Story:
    """What has been told so far, for the grid."""

    zones: dict[str, str] = field(default_factory=dict)
    shards: dict[str, int] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    step: str = ""
    note: str = ""
    losses: list[str] = field(default_factory=list)
    """What came back with less than it had."""
    began: float = field(default_factory=time.perf_counter)

    def grid(self) -> RenderableType:
        """Zones down, shards across, each node with how far it is."""
        columns = sorted(set(self.shards.values()))
        table = Table(box=None, header_style="dim", padding=(0, 3, 0, 0))
        table.add_column("zone", style="dim")
        for number in columns:
            table.add_column("sentinels" if number < 0 else f"shard {number + 1}")
        for zone in dict.fromkeys(self.zones.values()):
            cells = []
            for number in columns:
                cell = Text()
                for node in [n for n, z in self.zones.items() if z == zone and self.shards[n] == number]:
                    mark, style = MARKS.get(self.states[node].split(" ")[0], MARKS["up"])
                    cell.append(f"{mark} {node} {self.states[node]}  ", style=style)
                cells.append(cell)
            table.add_row(zone, *cells)
        took = time.perf_counter() - self.began
        return Group(table, Text(f"{took:5.1f} s  {self.step}  {self.note}", style="dim"))


@dataclass(frozen=True)
class How:
    """What a command wants beyond the spec."""

    wish: EngineWish
    manner: Manner


@dataclass(frozen=True)
class First:
    """What is shown of a cache that this very call has made, while it is empty."""

    failover: bool = False
    """A primary is killed under load, and the gap told."""
    proof: bool = False
    """The harmless checks of `prove` and a small load, as a table of promises."""


NOTHING_FIRST = First()


def bring_up(given: Named, how: How, *, as_json: bool, first: First = NOTHING_FIRST) -> None:
    """Do what `holdfast up` does and print its outcome."""
    story = Story()
    live_view: Live | None = None
    if not as_json and sys.stdout.isatty():
        live_view = Live(get_renderable=story.grid, refresh_per_second=12, transient=True, console=Console())
    say: Callable[[str], None] = (lambda _: None) if as_json or live_view else lambda text: print_line(text)
    done = asyncio.run(_work(given, how, story, say, live_view, first))
    steps, report, took_s = done.steps, done.report, done.ready_s
    facts: dict[str, Any] = {
        "cache": given.loaded.spec.cache.name,
        "steps": [step.to_json() for step in steps],
        "took_s": round(took_s, 3),
        "losses": story.losses,
        "failover": asdict(done.shown) if done.shown else None,
        "proof": _proof_facts(done.proved),
        "status": status_facts(report),
    }

    def text(console: Console) -> None:
        if steps:
            console.print(f"Ready in [bold]{took_s:.1f} s[/], {number_of(steps, 'step')}.")
        else:
            console.print("Nothing to do: the cache is what its spec says.")
        for loss in story.losses:
            console.print(Text(f"{loss}.", style="yellow"))
        if done.shown:
            console.print(shown_text(done.shown), markup=False)
        if done.proved:
            from holdfast.cli.prove_views import promises_table

            console.print(promises_table(done.proved.evidence))
            console.print(f"Evidence: {done.proved.folder or done.proved.not_written}", markup=False)
        status_text(report)(console)
        if any(isinstance(step, AddNode) for step in steps):
            for line in next_commands(given, report):
                console.print(line, markup=False)

    show(facts, text, as_json=as_json)


def next_commands(given: Named, report: Report) -> list[str]:
    """What one would do next with a cache that has just been made."""
    program = command_name()
    name = report.seen.name
    services = list(given.loaded.spec.services)
    lines = ["", "Next:", f"  {program} status {name}"]
    if services:
        lines.append(
            f'  eval "$({program} env {name} {services[0]})"    # what that service needs to connect'
        )
    else:
        lines.append(f"  {program} call {name} PING")
    if given.from_file:
        lines.append(f"  {program} plan {given.loaded.files[0]}    # after a change in the file")
    return lines


def command_name() -> str:
    """How this very command was called, so that what is printed can be typed."""
    path = Path(sys.argv[0])
    found = shutil.which("holdfast")
    if found and Path(found).resolve() == path.resolve():
        return "holdfast"
    with contextlib.suppress(ValueError):
        return str(path.resolve().relative_to(Path.cwd()))
    return str(path)


def print_line(text: str) -> None:
    """One line on stdout, at once."""
    stdout().print(text, markup=False)


@dataclass(frozen=True)
class _Done:
    """What `up` did."""

    steps: list[Step]
    ready_s: float
    shown: Demonstration | None
    proved: Proved | None
    report: Report


async def _work(
    given: Named,
    how: How,
    story: Story,
    say: Callable[[str], None],
    live_view: Live | None,
    first: First,
) -> _Done:
    stopping = _StopBetweenSteps()
    began = now()
    with given.store.alone(), stopping:
        async with opened(given, wish=how.wish, manner=how.manner) as cache:
            _know_members(cache, story)
            cache.tell = lambda told: _tell(story, told)

            def before(step: Step) -> None:
                must_be_free(given.state, given.loaded.spec.cache.name, step)
                story.step, story.note = step.title, ""
                if isinstance(step, AddNode):
                    _know(story, step.node, step.zone, step.kind, step.first_shard)
                    story.states[step.node] = "waiting"
                if isinstance(step, StartNodes):
                    story.losses += step.notes
                say(f"{time.perf_counter() - story.began:6.2f} s  {step.title}")

            def after(_: Step) -> None:
                stopping.stop_if_asked()

            fresh = not cache.record.members
            shown, proved = None, None
            with live_view or contextlib.nullcontext():
                steps = await converge(cache, before=before, after=after)
                ready_s = time.perf_counter() - story.began
                story.losses += await losses_since(cache.hosts, cache.record.name, began, story.losses)
                is_new = fresh and can_demonstrate(await cache.look())
                if first.failover and is_new:
                    story.step, story.note = "a primary is killed while clients write to it", ""
                    say(f"{ready_s:6.2f} s  ready; now a primary is killed while clients write to it")
                    shown = await demonstrate(cache)
                if first.proof and is_new:
                    proved = await _first_proof(given, cache, story, say, shown)
            report = await look(given)
            notes = (*report.notes, *acl_shortfalls(cache.spec, cache.build))
            return _Done(steps, ready_s, shown, proved, replace(report, notes=notes))


async def _first_proof(
    given: Named, cache: LiveCache, story: Story, say: Callable[[str], None], shown: Demonstration | None
) -> Proved:
    """What of the spec's promises can be measured in seconds, on the cache that was just made."""
    from holdfast.cli.proving import prove_quickly

    story.step, story.note = "promises are measured", ""
    say(f"{time.perf_counter() - story.began:6.2f} s  now its promises are measured, with a small load")
    gaps = {"a primary is killed": shown.gap_ms} if shown else {}
    return await prove_quickly(given, cache, gaps, lambda words: setattr(story, "note", words))


def _proof_facts(proved: Proved | None) -> dict[str, Any] | None:
    if proved is None:
        return None
    verdicts = {each.id: asdict(each.verdict) for each in proved.evidence.findings}
    return {"verdicts": verdicts, "folder": str(proved.folder) if proved.folder else None}


def shown_text(shown: Demonstration) -> str:
    """What the kill of a primary came to, for people."""
    lost = "none lost"
    if shown.lost:
        lost = (
            f"{shown.lost} LOST, which the primary had acknowledged and no replica had yet; clients that wait for a replica "
            "(WAIT 1) lose none, as holdfast prove measures"
        )
    return (
        f"Killed primary {shown.killed} (pid {shown.pid}) under load: {shown.heir} took its place; the longest wait of any "
        f"client between two acknowledged writes was {shown.gap_ms:.0f} ms; {shown.acknowledged:,} writes acknowledged, "
        f"{lost}."
    )


def _know_members(cache: LiveCache, story: Story) -> None:
    for member in cache.record.members:
        _know(story, member.name, member.zone, member.kind, member.first_shard)
        story.states[member.name] = "known"


def _know(story: Story, node: str, zone: str, kind: Kind, shard: int) -> None:
    story.zones[node] = zone
    story.shards[node] = -1 if kind is Kind.SENTINEL else max(0, shard)


def _tell(story: Story, told: Told) -> None:
    if told.is_loss:
        story.losses.append(f"{told.node} {told.what}")
    elif told.node and told.node in story.states:
        story.states[told.node] = told.what
    else:
        story.note = told.what


class _StopBetweenSteps:
    """The first Ctrl-C ends the work after the step that is being done; the second ends it at once.

    At once means: the step is cancelled and unwinds, closing its connections; raising in the midst of the event loop
    would leave them to the interpreter's end. A third Ctrl-C does raise, in case the unwinding hangs.
    """

    def __init__(self) -> None:
        self._asked = 0
        self._before: Any = None
        self._loop = asyncio.get_running_loop()
        self._work = asyncio.current_task()

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGINT, self._on_signal)

    def __exit__(self, kind: type[BaseException] | None, *failure: object) -> None:
        signal.signal(signal.SIGINT, self._before)
        if self._asked and kind is asyncio.CancelledError:
            raise KeyboardInterrupt

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._asked += 1
        if self._asked == 1:
            err("holdfast: stopping after this step (Ctrl-C again: at once)")
        elif self._asked == 2 and self._work is not None:
            self._loop.call_soon_threadsafe(self._work.cancel)
        else:
            raise KeyboardInterrupt

    def stop_if_asked(self) -> None:
        """Raises: KeyboardInterrupt."""
        if self._asked:
            raise KeyboardInterrupt
