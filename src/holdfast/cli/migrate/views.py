"""How a migration is shown: findings, where it stands, what a switch cost; each as facts and as text."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from holdfast.cli.lines import line
from holdfast.migrate.journal import Journal, Stage, Switch
from holdfast.migrate.orders import journal_of
from holdfast.migrate.rules import Finding, Weight

if TYPE_CHECKING:
    from rich.console import Console

    from holdfast.jobs.folder import JobFolder

STALE_S = 5.0
"""A worker glances twice a second; one that has not for this long is stuck, or its machine sleeps."""
Text = Callable[["Console"], None]


def findings_facts(found: Sequence[Finding]) -> dict[str, Any]:
    """For `--json`."""
    return {
        "findings": [
            {
                "id": each.id,
                "weight": each.weight.value,
                "accepted": each.accepted,
                "what": each.what,
                "instead": each.instead,
            }
            for each in found
        ]
    }


def findings_text(found: Sequence[Finding]) -> Text:
    """For people."""

    def text(console: Console) -> None:
        for each in found:
            mark = "accepted" if each.accepted else each.weight.value
            colour = {"forbids": "red", "blocks": "red", "warns": "yellow", "accepted": "yellow"}.get(
                mark, "dim"
            )
            instead = f" {each.instead}" if each.instead and each.weight is not Weight.TELLS else ""
            console.print(f"[{colour}]{mark:>8}[/]  ", end="")
            console.print(f"{each.id}: {each.what}.{instead}", markup=False, soft_wrap=True)

    return text


def full_sync_line(seen: Any) -> str:
    """What a full synchronisation is at, in a line."""
    phase = str(seen.get("phase", "connecting"))
    if seen.get("trouble"):
        return f"{phase}: {seen['trouble']}"
    if phase == "full sync":
        return (
            f"full sync: {seen.get('keys', 0):,} of {seen.get('keys_total', 0):,} keys, {seen.get('keys_per_s', 0):,} keys/s, "
            f"{seen.get('bytes_per_s', 0) / 1e6:.1f} MB/s"
        )
    return phase


def status_facts(folder: JobFolder, events: int) -> dict[str, Any]:
    """All that is known of one migration."""
    journal, seen = journal_of(folder), dict(folder.read("progress"))
    pid = folder.worker_pid()
    over = journal.stage in {Stage.FINISHED, Stage.STOPPED}
    wrong = _wrong(journal, seen, pid)
    return {
        "migration": journal.name,
        "mode": journal.mode.value,
        "from": journal.source.label,
        "to": journal.target.label,
        "created_at": journal.created_at,
        "stage": journal.stage.value,
        "primary": journal.primary.value,
        "worker_pid": pid,
        "wrong": wrong,
        "way_back": journal.way_back or ("open" if journal.primary.value == "target" and not over else ""),
        "progress": {} if over else seen,
        "losses": dict(journal.losses),
        "full_syncs": list(journal.full_syncs),
        "accepted": list(journal.options.accepted),
        "switch": switch_facts(journal.switch) if journal.switch else None,
        "switches": [switch_facts(each) for each in journal.switches],
        "borrowed": [f"{each.address[0]}:{each.address[1]} {each.name}" for each in journal.borrowed],
        "words": journal.words,
        "events": [dict(each) for each in folder.events(events)] if events else [],
    }


def _wrong(journal: Journal, seen: Any, pid: int) -> str:
    if journal.stage in {Stage.FINISHED, Stage.STOPPED}:
        return ""
    if journal.stage is Stage.FAILED:
        return journal.words
    if not pid:
        return f"its process does not run: holdfast migrate resume {journal.name}"
    if journal.way_back:
        return f"the way back is closed: {journal.way_back}"
    if seen.get("trouble"):
        return str(seen["trouble"])
    if seen.get("at_s") and time.time() - float(seen["at_s"]) > STALE_S:
        return f"its process (pid {pid}) has told nothing for {time.time() - float(seen['at_s']):.0f} s"
    return ""


def switch_facts(switch: Switch) -> dict[str, Any]:
    """One switch of primaries."""
    return {
        "to": switch.to.value,
        "started_at": switch.started_at,
        "step": switch.step.value,
        "outcome": switch.outcome,
        "write_pause_ms": switch.pause_ms,
        "old": _address(switch.old),
        "new": _address(switch.new),
        "offset": switch.offset,
        "proofs": list(switch.proofs),
        "took_ms": dict(switch.took_ms),
        "hook": switch.hook,
        "words": switch.words,
    }


def _address(address: tuple[str, int] | None) -> str:
    return f"{address[0]}:{address[1]}" if address else ""


def status_text(facts: dict[str, Any]) -> Text:
    """For people."""

    def text(console: Console) -> None:
        line(
            console,
            f"{facts['migration']}: {facts['from']} -> {facts['to']} ({facts['mode']}), {_standing(facts)}",
        )
        if facts["wrong"]:
            console.print(f"[red]{'wrong':>8}[/]  ", end="")
            line(console, facts["wrong"])
        seen = facts["progress"]
        if seen:
            line(console, f"{'phase':>8}  {_phase(seen)}")
        if facts["primary"] == "target" and facts["way_back"] == "open":
            line(
                console, f"{'back':>8}  the way back is open: holdfast migrate rollback {facts['migration']}"
            )
        if facts["full_syncs"]:
            line(console, f"{'syncs':>8}  full synchronisations: {'; '.join(facts['full_syncs'])}")
        line(console, f"{'losses':>8}  {_losses(facts['losses'])}")
        for each in facts["switches"]:
            line(console, f"{'switch':>8}  {_switch_line(each)}")
        if facts["switch"]:
            line(
                console,
                f"{'switch':>8}  to the {facts['switch']['to']}, at the step '{facts['switch']['step']}'",
            )
        for event in facts["events"]:
            line(console, f"{str(event.get('at', ''))[11:19]:>8}  {event.get('what', '')}")

    return text


def _standing(facts: dict[str, Any]) -> str:
    if facts["stage"] in {"finished", "stopped", "failed", "paused"}:
        return str(facts["stage"])
    return f"{facts['stage']}, the {facts['primary']} is primary"


def _phase(seen: dict[str, Any]) -> str:
    phase = seen.get("phase", "")
    if phase == "tail":
        return f"tail: {seen['lag_bytes']:,} bytes and {seen['lag_ms']} ms behind, {seen['bytes_per_s'] / 1e6:.2f} MB/s"
    return full_sync_line(seen)


def _losses(losses: dict[str, int]) -> str:
    return "; ".join(f"{what}: {count}" for what, count in losses.items()) if losses else "none"


def _switch_line(switch: dict[str, Any]) -> str:
    if switch["outcome"] != "done":
        return f"{switch['started_at']} to the {switch['to']}: {switch['outcome']} at '{switch['step']}', {switch['words']}"
    pause = (
        f", writes held for {switch['write_pause_ms']:.0f} ms" if switch["write_pause_ms"] is not None else ""
    )
    hook = f"; {switch['hook']}" if switch["hook"] else ""
    amiss = f"; {switch['words']}" if switch["words"] else ""
    return f"{switch['started_at']} to the {switch['to']} at {switch['new']}{pause}{hook}{amiss}"


def verdict_text(facts: dict[str, Any], verb: str) -> Text:
    """What an order came to."""

    def text(console: Console) -> None:
        name = facts["migration"]
        if verb in {"cutover", "rollback"} and facts["switches"]:
            last = facts["switches"][-1]
            pause = last["write_pause_ms"]
            held = (
                f"Writes were held for {pause:.0f} ms."
                if pause is not None
                else "The write pause was not measured."
            )
            line(console, f"{name}: the {last['to']} is the primary, at {last['new']}. {held}")
            for proof in last["proofs"]:
                line(console, f"  refused by the old primary: {proof}")
            if last["hook"]:
                line(console, f"  {last['hook']}")
            if last["words"]:
                line(console, f"  {last['words']}")
            if verb == "cutover":
                line(
                    console,
                    f"The way back is open until `holdfast migrate finish {name}`: holdfast migrate rollback {name}.",
                )
        elif verb == "finish":
            line(console, f"{name} is finished; the old source stays fenced. Its record:")
            status_text(facts)(console)
        else:
            line(
                console,
                f"{name} is stopped: the target is by itself, with what it had; the source is as it was.",
            )
        if facts["words"]:
            line(console, facts["words"])

    return text


def list_facts(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All migrations."""
    return [
        {each: row[each] for each in ("migration", "from", "to", "stage", "primary", "wrong")} for row in rows
    ]


def list_text(rows: list[dict[str, Any]]) -> Text:
    """The same for people."""

    def text(console: Console) -> None:
        if not rows:
            line(console, "No migrations: holdfast migrate start begins one.")
        for row in rows:
            wrong = f": {row['wrong']}" if row["wrong"] else ""
            line(console, f"{row['migration']}  {row['from']} -> {row['to']}  {_standing(row)}{wrong}")

    return text
