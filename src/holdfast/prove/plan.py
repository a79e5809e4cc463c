"""Which checks run and which cannot, before anything is touched. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from holdfast.errors import WrongUsage
from holdfast.prove.check import Check, Disturbs, Need
from holdfast.prove.verdict import Verdict, not_provable, skipped

INSTEAD = {
    Need.RECORD: "bring one up by the same spec (holdfast up) and prove that",
    Need.HERE: "run holdfast prove on the machine that its nodes run on",
    Need.SUPERVISOR: "start it with holdfast up",
    Need.REPLICAS: "declare topology.replicas",
    Need.CLUSTER: "declare topology.mode: cluster",
    Need.ZONES: "declare topology.zones",
    Need.TRAFFIC: "declare keyspace.namespaces.NAME.traffic",
    Need.SERVICES: "declare services",
    Need.TLS: "declare security.tls: required and choose an engine with TLS",
}


@dataclass(frozen=True)
class Wish:
    """What the user asked for."""

    only: tuple[str, ...] = ()
    """Families or ids; empty: all."""
    most: Disturbs = Disturbs.DISRUPTIVE
    """The most that checks may disturb."""
    why_not_more: str = ""
    """Why nothing may disturb more than that."""


@dataclass(frozen=True)
class Planned:
    """One check, and the verdict that it already has where it does not run."""

    check: Check
    verdict: Verdict | None = None


@dataclass(frozen=True)
class Situation:
    """What there is to work with."""

    has: frozenset[Need] = field(default_factory=frozenset)


def plan(checks: Sequence[Check], wish: Wish, situation: Situation) -> tuple[Planned, ...]:
    """Every check, in order: those that run, and the others with the reason.

    Raises: WrongUsage for an id or family that there is none of.
    """
    _refuse_unknown(checks, wish.only)
    order = list(Disturbs)
    planned = []
    for check in checks:
        if wish.only and not _chosen(check, wish.only):
            planned.append(Planned(check, skipped("not asked for")))
        elif order.index(check.disturbs) > order.index(wish.most):
            planned.append(Planned(check, skipped(wish.why_not_more or f"it is {check.disturbs}")))
        elif lacking := _lacking(check.needs - situation.has):
            what = " and ".join(need.value for need in lacking)
            planned.append(
                Planned(check, not_provable("", f"it needs {what}", "; ".join(INSTEAD[n] for n in lacking)))
            )
        else:
            planned.append(Planned(check))
    return tuple(planned)


def _lacking(needs: Collection[Need]) -> list[Need]:
    """What is told of what is not there: of a cache that is somebody else's, nothing that would follow from that."""
    return [Need.RECORD] if Need.RECORD in needs else sorted(needs)


def _chosen(check: Check, only: Collection[str]) -> bool:
    return check.id in only or check.family in only


def _refuse_unknown(checks: Sequence[Check], only: Sequence[str]) -> None:
    known = sorted({check.id for check in checks} | {check.family for check in checks})
    for name in only:
        if name not in known:
            near = get_close_matches(name, known, 3)
            instead = f"did you mean {' or '.join(near)}?" if near else "holdfast prove --list shows all"
            raise WrongUsage(f"there is no check or family {name}", instead)
