"""What commands on a cache show: each value as JSON facts and as text for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from holdfast.cli.lines import number_of
from holdfast.cli.look import Report
from holdfast.spec.cache import Spec
from holdfast.topology.health import Severity
from holdfast.topology.seen import Role, SeenNode
from holdfast.topology.slots import ranges

if TYPE_CHECKING:
    from holdfast.topology.steps import Step

ROLE_STYLE = {Role.PRIMARY: "bold green", Role.REPLICA: "cyan", Role.SENTINEL: "magenta"}


def plan_facts(spec: Spec, steps: Sequence[Step]) -> dict[str, Any]:
    """A plan as JSON."""
    return {"cache": spec.cache.name, "steps": [step.to_json() for step in steps]}


def plan_text(spec: Spec, steps: Sequence[Step], verb: str = "holdfast up") -> Callable[[Console], None]:
    """A plan for people: numbered steps. Args: `verb`, the command that does them."""

    from holdfast.topology.steps import LookAgain  # here: a status has no steps

    def text(console: Console) -> None:
        if not steps:
            console.print(f"{spec.cache.name} is what its spec says: nothing to do.")
            return
        console.print(
            f"{spec.cache.name}: {number_of(steps, 'step')} to do. `{verb}` does that; nothing is changed now.\n"
        )
        for number, step in enumerate(steps, start=1):
            style = "dim" if isinstance(step, LookAgain) else ""
            console.print(Text(f"{number:3}  {step.title}", style=style))

    return text


def size(count: int) -> str:
    """Bytes as people read them."""
    value = float(count)
    for unit in ("B", "KB", "MB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GB"


def status_facts(report: Report) -> dict[str, Any]:
    """A status as JSON."""
    seen = report.seen
    return {
        "cache": seen.name,
        "mode": report.record.mode,
        "engine": report.record.engine,
        "tls": report.record.tls,
        "at": seen.at,
        "took_ms": round(seen.took_ms, 1),
        "healthy": not report.problems,
        "nodes": [_node_facts(node) for node in seen.nodes],
        "problems": [
            {"severity": each.severity.value, "node": each.node, "what": each.what, "mend": each.mend}
            for each in report.problems
        ],
        "network_allow": {
            host: {"enforced": each.enforced, "how": each.how, "why": each.why}
            for host, each in report.allow.items()
        },
        "notes": list(report.notes),
        "maintenance": report.maintenance.to_json() if report.maintenance else None,
    }


def _node_facts(node: SeenNode) -> dict[str, Any]:
    return {
        "name": node.name,
        "kind": node.kind.value,
        "host": node.host,
        "zone": node.zone,
        "address": node.address,
        "port": node.port,
        "process": node.process.state.value,
        "pid": node.process.pid,
        "reach": node.reach.value,
        "words": node.words,
        "role": node.role.value,
        "primary": node.primary or None,
        "in_sync": node.link_up if node.role is Role.REPLICA else None,
        "offset": node.offset,
        "lag_bytes": node.lag_bytes,
        "slots": [str(span) for span in ranges(node.slots)],
        "keys": node.keys,
        "used_bytes": node.used_bytes,
        "maxmemory_bytes": node.maxmemory_bytes,
        "clients": node.clients,
        "ops_per_s": node.ops_per_s,
        "engine": node.engine,
        "version": node.version,
        "uptime_s": node.uptime_s,
    }


def status_text(report: Report) -> Callable[[Console], None]:
    """A status for people: the table of nodes, then what is wrong and what cannot be enforced."""

    def text(console: Console) -> None:
        seen = report.seen
        up = sum(node.is_up for node in seen.nodes)
        verdict = "[green]healthy[/]" if not report.problems else "[bold red]degraded[/]"
        secured = "TLS" if report.record.tls else "no TLS"
        console.print(
            f"[bold]{seen.name}[/]  {verdict}  {report.record.mode}, {up} of {len(seen.nodes)} nodes up, {secured}"
        )
        console.print(_nodes_table(report))
        for problem in report.problems:
            colour = "red" if problem.severity is Severity.ERROR else "yellow"
            where = f"{problem.node} " if problem.node else ""
            console.print(
                Text.assemble(
                    (f"{problem.severity.value}: ", colour), f"{where}{problem.what}. {problem.mend}"
                )
            )
        for host, each in report.allow.items():
            mark = ("network.allow holds: ", "dim") if each.enforced else ("network.allow: ", "yellow")
            console.print(
                Text.assemble(mark, (f"{each.why}" if host == "local" else f"{host}: {each.why}", "dim"))
            )
        if report.maintenance:
            why = f" ({report.maintenance.why})" if report.maintenance.why else ""
            console.print(f"in maintenance until {_local(report.maintenance.until)}{why}", markup=False)
        for note in report.notes:
            console.print(Text(note, style="yellow"))

    return text


def _nodes_table(report: Report) -> Table:
    clustered = report.record.mode == "cluster"
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in (
        "node",
        "zone",
        "role",
        "slots" if clustered else "",
        "lag",
        "memory",
        "keys",
        "clients",
        "version",
        "address",
    ):
        right = column in {"lag", "keys", "clients"}
        table.add_column(column, justify="right" if right else "left", no_wrap=True)
    order = {shard.primary.name: number for number, shard in enumerate(report.seen.shards)}
    for node in sorted(
        report.seen.nodes,
        key=lambda each: (
            order.get(each.primary or each.name, 1 << 20),
            each.role is not Role.PRIMARY,
            each.name,
        ),
    ):
        table.add_row(*_row(node, clustered))
    return table


def _row(node: SeenNode, clustered: bool) -> list[str | Text]:
    address = f"[{node.address}]:{node.port}" if ":" in node.address else f"{node.address}:{node.port}"
    if not node.is_up:
        state = (
            node.process.state.value
            if node.process.state.value in {"exited", "stopped"}
            else node.reach.value
        )
        return [node.name, node.zone, Text(state, style="bold red"), "", "", "", "", "", "", address]
    role = node.role.value
    if node.role is Role.REPLICA:
        role = f"replica of {node.primary or '?'}"
    if node.role is Role.SENTINEL:
        role = f"sentinel of {node.monitored or '?'}"
    lag = ""
    if node.role is Role.REPLICA:
        lag = size(node.lag_bytes) if node.link_up else ("copying" if node.syncing else "no link")
    memory = size(node.used_bytes) + (f" of {size(node.maxmemory_bytes)}" if node.maxmemory_bytes else "")
    return [
        node.name,
        node.zone,
        Text(role, style=ROLE_STYLE.get(node.role, "")),
        ",".join(str(span) for span in ranges(node.slots)) if clustered else "",
        lag,
        memory,
        "" if node.role is Role.SENTINEL else f"{node.keys:,}",
        str(node.clients),
        f"{node.engine} {node.version}",
        address,
    ]


def event_line(event: dict[str, Any]) -> str:
    """One event for people: local time, what, which node, and the figures it has."""
    line = f"{_local(str(event['at']))}  {event['kind']:<13} {event['node']}"
    match event["kind"]:
        case "failover":
            line += (
                f" -> {event['heir']}: asked after {event['asked_ms']} ms, elected {event['elected_ms']} ms"
            )
            if event.get("accepting_ms") is not None:
                line += f", writes taken {event['accepting_ms']} ms"
            gap = event.get("offset_gap_bytes_at_most")
            line += f", at most {gap} bytes behind" if gap is not None else ""
            if event.get("way", "asked") != "asked":
                line += f" ({event['way']})"
        case "lost":
            line += f": {event['words']}" if event.get("words") else ""
            if event.get("comes_back_with"):
                line += f"; it comes back with {event['comes_back_with']}."
        case "switched home" if not event.get("done", True):
            line += f" in place of {event['from']}: not done in {event['took_ms']} ms"
        case "switched home" | "switched over":
            line += f" in place of {event['from']}, {event['took_ms']} ms"
            line += f", writes held {event['held_ms']} ms" if "held_ms" in event else ""
        case "engine":
            line += f"{event['from']} -> {event['to']}"
        case "restarted" if "away_ms" in event:
            line += f", {event['was']}, away {event['away_ms']:.0f} ms"
        case "maintenance":
            line += f"{event['state']}" + (f", until {_local(event['until'])}" if "until" in event else "")
    why = event.get("why") or event.get("words") or ""
    return f"{line}  {why}".rstrip()


def _local(at: str) -> str:
    return datetime.fromisoformat(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
