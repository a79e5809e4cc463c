"""What commands do with a migration: make one, give it orders, wait for the answer. The work itself is the job's."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.jobs.folder import JobFolder
from holdfast.jobs.launch import ensure_working
from holdfast.migrate.ends import End, Side
from holdfast.migrate.journal import KIND, Journal, Mode, Options, Stage
from holdfast.migrate.rules import Finding, Weight, blocking
from holdfast.migrate.worker import begin_again, load
from holdfast.state import StateFolder, audit, only_one

MODULE = "holdfast.migrate"
LOOK_EVERY_S = 0.05
ANSWER_BOUND_S = 180.0


@dataclass(eq=False)
class Blocked(HoldfastError):
    """Findings speak against a migration, and nobody has accepted them."""

    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        told = " ".join(f"{each.id}: {each.what}. {each.instead}" for each in self.findings)
        ids = sorted({each.id for each in self.findings if each.weight is Weight.BLOCKS})
        agree = f" What blocks and can be agreed to: --accept {' --accept '.join(ids)}" if ids else ""
        count = "a finding speaks" if len(self.findings) == 1 else f"{len(self.findings)} findings speak"
        return f"{count} against this migration, and nothing was changed. {told.strip()}{agree}"


@dataclass(eq=False)
class WrongStage(HoldfastError):
    """An order that does not fit where the migration stands."""

    name: str
    order: str
    why: str
    instead: str

    def __str__(self) -> str:
        return f"{self.name} cannot {self.order}: {self.why}; nothing was changed. {self.instead}"


@dataclass(eq=False)
class OrderFailed(HoldfastError):
    """The job has tried an order and did not do it; its own words say why."""

    words: str

    def __str__(self) -> str:
        return self.words


@dataclass(eq=False)
class NotAnswered(HoldfastError):
    """The job did not answer an order in time; it stays given."""

    name: str
    order: str
    waited_s: float

    def __str__(self) -> str:
        return (
            f"the migration {self.name} has not answered {self.order} after {self.waited_s:.0f} s; the order stays given: see "
            f"holdfast migrate status {self.name}"
        )


def create(
    state: StateFolder,
    name: str,
    ends: tuple[End, End],
    mode: Mode,
    options: Options,
    found: tuple[Finding, ...],
) -> JobFolder:
    """A new migration, and its job at work. Raises: Blocked, JobExists, JobDidNotStart."""
    if against := blocking(found):
        raise Blocked(against)
    folder = JobFolder.make(state, KIND, name)
    source, target = ends
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    journal = Journal(name, mode, source, target, now, options)
    folder.write("secrets", journal.secrets())
    folder.write("journal", journal.to_json())
    audit(
        state,
        "migrate start",
        {
            "migration": name,
            "from": source.label,
            "to": target.label,
            "mode": mode.value,
            "accepted": options.accepted,
        },
    )
    folder.tell(f"from {source.label} to {target.label}, mode {mode.value}", accepted=list(options.accepted))
    ensure_working(folder, MODULE)
    return folder


def journal_of(folder: JobFolder) -> Journal:
    """What a migration remembers. Raises: JournalUnreadable, JournalDamaged."""
    return load(folder)[0].journal


def order(state: StateFolder, folder: JobFolder, verb: str, **options: Any) -> int:
    """Give an order, and see that the job is there to obey; the order's number. Raises: WrongStage, JobDidNotStart."""
    journal = journal_of(folder)
    _fits(journal, verb)
    with only_one(folder.path / "orders.lock", f"the orders of {folder.name}"):
        wish = dict(folder.read("wish"))
        number = max(journal.answered, int(wish.get("order", {}).get("number", 0))) + 1
        folder.write("wish", {**wish, "paused": False, "order": {"number": number, "verb": verb, **options}})
    audit(state, f"migrate {verb}", {"migration": folder.name, **options})
    folder.tell(f"ordered: {verb}")
    if journal.stage is Stage.FAILED:
        begin_again(load(folder)[0])
    ensure_working(folder, MODULE)
    return number


def _fits(journal: Journal, verb: str) -> None:
    name = journal.name
    if journal.stage in {Stage.FINISHED, Stage.STOPPED}:
        raise WrongStage(name, verb, f"it is {journal.stage.value}", "Start a new one.")
    if journal.switch is not None:
        raise WrongStage(
            name,
            verb,
            f"a switch to the {journal.switch.to.value} is under way",
            f"See holdfast migrate status {name}.",
        )
    at_target = journal.primary is Side.TARGET
    if verb == "cutover" and at_target:
        raise WrongStage(name, verb, "it has been done", "Roll back, or finish.")
    if verb == "rollback" and not at_target:
        raise WrongStage(name, verb, "the source is still the primary", "There is nothing to go back from.")
    if verb == "rollback" and journal.way_back:
        raise WrongStage(
            name, verb, f"the way back is closed: {journal.way_back}", "Go on with the target, and finish."
        )
    if verb == "finish" and not at_target:
        raise WrongStage(name, verb, "the source is still the primary", "Cut over first, or stop it.")
    if verb == "stop" and at_target:
        raise WrongStage(name, verb, "the target is the primary", "Finish it, or roll back.")


def await_answer(
    folder: JobFolder, number: int, verb: str, look: Callable[[Mapping[str, Any]], None] = lambda _: None
) -> Journal:
    """Wait until the order has been obeyed; the journal then.

    Args: `look`, called with what progress.json says, for a bar. Raises: OrderFailed, NotAnswered, JobDidNotStart.
    """
    end_s = time.monotonic() + ANSWER_BOUND_S
    while time.monotonic() < end_s:
        journal = journal_of(folder)
        if journal.answered >= number:
            if journal.answer:
                raise OrderFailed(journal.answer)
            return journal
        if journal.stage is Stage.FAILED:
            raise OrderFailed(journal.words)
        look(folder.read("progress"))
        time.sleep(LOOK_EVERY_S)
    raise NotAnswered(folder.name, verb, ANSWER_BOUND_S)


def pause(state: StateFolder, folder: JobFolder) -> None:
    """Close both links, and keep everything. Raises: WrongStage."""
    journal = journal_of(folder)
    _fits(journal, "pause")
    folder.write("wish", {**folder.read("wish"), "paused": True})
    audit(state, "migrate pause", {"migration": folder.name})


def resume(state: StateFolder, folder: JobFolder, *, point_again: bool = False) -> bool:
    """Go on after a pause, a failure or a death; whether a process was started.

    Args: `point_again`, the target may be made to follow although somebody else has made it a primary. Raises: WrongStage.
    """
    book, _ = load(folder)
    if book.journal.stage in {Stage.FINISHED, Stage.STOPPED}:
        raise WrongStage(folder.name, "resume", f"it is {book.journal.stage.value}", "Start a new one.")
    folder.write("wish", {**folder.read("wish"), "paused": False})
    if not folder.worker_pid():
        if point_again:
            book.write(pointed="")
        begin_again(book)
    elif point_again:
        raise WrongStage(folder.name, "point again", "its job is at work", "Pause it first.")
    audit(state, "migrate resume", {"migration": folder.name, "point_again": point_again})
    return ensure_working(folder, MODULE)
