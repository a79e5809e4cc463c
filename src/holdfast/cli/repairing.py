"""What `holdfast repair` does: look, tell, ask for the word, act, look again."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.text import Text

from holdfast.cli.bringup import print_line
from holdfast.cli.console import confirm_by_name
from holdfast.cli.lines import number_of
from holdfast.cli.opening import Named, opened
from holdfast.errors import HoldfastError, WrongUsage
from holdfast.migrate.guard import must_be_free
from holdfast.state import audit
from holdfast.topology.apply import apply_step, converge
from holdfast.topology.live import LiveCache, Told
from holdfast.topology.repair_rules import Fault, Finding, diagnose
from holdfast.topology.steps import Step

ROUNDS = 8
"""A repair brings the next thing to light at most so often."""
COMPARE_BOUND_S = 600.0


@dataclass
class Repaired:
    """What was found, and what was done."""

    cache: str
    findings: tuple[Finding, ...] = ()
    differences: dict[str, Any] = field(default_factory=dict)
    """Of two primaries: how many keys differ, by kind; empty when it was not asked for."""
    acted: bool = False
    steps: list[Step] = field(default_factory=list)
    told: list[str] = field(default_factory=list)


def look_and_repair(
    given: Named, *, keep: str, act: bool, typed: str, compare: bool, quiet: bool
) -> Repaired:
    """Find what is broken and, with `act`, mend it. Raises: WrongUsage before anything is touched, NotRepaired."""
    say: Callable[[str], None] = (lambda _: None) if quiet else print_line
    return asyncio.run(_work(given, keep, act=act, typed=typed, compare=compare, say=say))


async def _work(
    given: Named, keep: str, *, act: bool, typed: str, compare: bool, say: Callable[[str], None]
) -> Repaired:
    given.store.record()
    name = given.loaded.spec.cache.name
    done = Repaired(name)
    with given.store.alone():
        async with opened(given) as cache:
            cache.tell = lambda told: _tell(done, told, say)
            _known(cache, keep)
            done.findings = await _found(cache, keep)
            if compare:
                done.differences = await _differences(cache, done.findings)
            if not act or not done.findings:
                return done
            _agreed(done.findings, name, keep, typed, say)
            audit(
                given.state,
                "repair",
                {"cache": name, "keep": keep, "found": [each.fault.value for each in done.findings]},
            )
            done.acted = True
            findings: Sequence[Finding] = done.findings
            for _ in range(ROUNDS):
                steps = findings[0].steps if findings else ()
                if not steps:
                    break
                for step in steps:
                    must_be_free(given.state, name, step)
                    say(step.title)
                    await apply_step(cache, step)
                    done.steps.append(step)
                again = await _found(cache, keep)
                findings = [each for each in again if _covered(each, done.findings)]

            def before(step: Step) -> None:
                must_be_free(given.state, name, step)
                say(step.title)

            done.steps += await converge(cache, before=before, after=lambda _: None)
    return done


def _covered(finding: Finding, agreed: Sequence[Finding]) -> bool:
    """Whether the word that was given is for this too: nothing is given up that was not told before."""
    return not finding.loses or any(
        (finding.fault, finding.keep, finding.loses) == (each.fault, each.keep, each.loses) for each in agreed
    )


def _known(cache: LiveCache, keep: str) -> None:
    """Raises: WrongUsage when the side to keep is none of the cache's servers: a slip of the hand, whatever is found."""
    servers = [each.name for each in cache.record.servers]
    if keep and keep not in servers:
        raise WrongUsage(
            f"{cache.record.name} has no server {keep}; nothing was changed",
            f"--keep names one of {', '.join(servers)}",
        )


async def _found(cache: LiveCache, keep: str) -> tuple[Finding, ...]:
    return diagnose(await cache.look(), cache.spec.topology.mode, keep)


def _agreed(
    findings: Sequence[Finding], name: str, keep: str, typed: str, say: Callable[[str], None]
) -> None:
    """Raises: WrongUsage when a choice or a word is lacking."""
    choices = [each for each in findings if each.choice]
    sides = {side.node for each in choices for side in each.sides}
    if choices and keep not in sides:
        named = f"{keep} is none of them" if keep else "none was named"
        raise WrongUsage(
            f"{name} has sides that both hold data ({', '.join(sorted(sides))}), and {named}; nothing was changed",
            f"say whose data stays, for example --keep {choices[0].keep}",
        )
    if keep and keep not in {each.keep for each in findings}:
        kept = ", ".join(sorted({each.keep for each in findings if each.keep})) or "nobody"
        raise WrongUsage(
            f"{keep} is not what this repair would keep ({kept} is); nothing was changed",
            "leave --keep out, or see holdfast repair without --yes",
        )
    given_up = [each for each in findings if each.loses]
    if not given_up:
        return
    for each in given_up:
        say(f"{each.what}: {each.loses}.")
    if typed != name and not confirm_by_name(name):
        raise WrongUsage(
            f"what would be lost is not given up without the name of the cache ({given_up[0].loses}); nothing was changed",
            f"type it, or add --confirm {name}",
        )


async def _differences(cache: LiveCache, findings: Sequence[Finding]) -> dict[str, Any]:
    """Keys in which two primaries differ, counted both ways; the first two where there are more."""
    from holdfast.compare.run import Comparison
    from holdfast.compare.side import Side

    pairs = [each.sides[:2] for each in findings if each.fault is Fault.TWO_PRIMARIES]
    if not pairs:
        return {}
    one, other = (cache.access.endpoint(cache.record.member(side.node)) for side in pairs[0])
    names = [side.node for side in pairs[0]]
    try:
        async with asyncio.timeout(COMPARE_BOUND_S):
            first, second = await Side.open([one]), await Side.open([other])
            try:
                report = await Comparison(first, second).run()
            finally:
                first.close()
                second.close()
    except (HoldfastError, TimeoutError) as failed:
        return {"between": names, "failed": str(failed) or f"not through in {COMPARE_BOUND_S:.0f} s"}
    return {
        "between": names,
        "same": report.same,
        "different": report.different,
        "changing": report.changing,
        "by_kind": dict(report.counts),
    }


def _tell(done: Repaired, told: Told, say: Callable[[str], None]) -> None:
    if told.node and ("saved in" in told.what or told.is_loss):
        line = f"{told.node}: {told.what}"
        done.told.append(line)
        say(line)


def repair_facts(done: Repaired) -> dict[str, Any]:
    """As JSON."""
    return {
        "cache": done.cache,
        "findings": [
            {
                "fault": each.fault.value,
                "what": each.what,
                "sides": [asdict(side) for side in each.sides],
                "keep": each.keep,
                "must_choose": each.choice,
                "loses": each.loses,
                "steps": [step.to_json() for step in each.steps],
            }
            for each in done.findings
        ],
        "differences": done.differences,
        "acted": done.acted,
        "steps": [step.to_json() for step in done.steps],
        "told": done.told,
    }


def repair_text(done: Repaired) -> Callable[[Console], None]:
    """For people."""

    def text(console: Console) -> None:
        if not done.findings:
            console.print(f"{done.cache}: nothing is broken that does not mend itself.")
            return
        if done.acted:
            console.print(
                f"{done.cache} is repaired: {number_of(done.steps, 'step')}. holdfast status shows it."
            )
            return
        for each in done.findings:
            console.print(Text.assemble((each.fault.value, "bold red"), f": {each.what}."))
            for side in each.sides:
                mark = " (would be kept)" if side.node == each.keep else ""
                console.print(f"  {side.node} {side.has}{mark}", markup=False)
            for step in each.steps:
                console.print(f"    - {step.title}", markup=False)
            if each.loses:
                console.print(Text(f"  given up: {each.loses}", style="yellow"))
        if differ := done.differences:
            console.print(_differences_line(differ), markup=False)
        if any(each.steps for each in done.findings):
            console.print(f"Nothing was changed. {_how(done)}", markup=False)

    return text


def _differences_line(differ: dict[str, Any]) -> str:
    one, other = differ["between"]
    if "failed" in differ:
        return f"{one} and {other} could not be compared: {differ['failed']}"
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(differ["by_kind"].items())) or "none"
    return (
        f"{one} against {other}: {differ['same']} keys are the same, {differ['different']} differ ({kinds})"
    )


def _how(done: Repaired) -> str:
    """The command that would do it."""
    choice = next((each for each in done.findings if each.choice), None)
    words = ["holdfast repair", done.cache]
    if choice:
        words.append(f"--keep {choice.keep}")
    words.append("--yes")
    if any(each.loses for each in done.findings) and not sys.stdin.isatty():
        words.append(f"--confirm {done.cache}")
    return f"To do it: {' '.join(words)}"
