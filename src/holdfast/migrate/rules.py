"""What speaks against a migration by relay, or is lost by it: from the facts of both ends to findings. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.migrate.ends import Layout
from holdfast.migrate.finding import EndFacts, Finding, Weight, denied
from holdfast.migrate.journal import Mode
from holdfast.migrate.relay.grammar import Release, inexact
from holdfast.migrate.write.rules import fencing, placed

OLDEST = (5, 0, 0)
FIELD_TTLS_FROM = {"redis": (7, 4, 0), "valkey": (9, 0, 0)}
SMALL_BACKLOG_BYTES = 16 * 1024 * 1024
MEMORY_MARGIN = 1.1
CORE_MODULES = frozenset({"vectorset", "lua"})
"""Modules that come with the engine itself (Redis 8, Valkey 9.1): that they are loaded says nothing about the data."""


def findings(
    source: EndFacts,
    target: EndFacts,
    *,
    has_certificate: bool = False,
    mode: Mode = Mode.RELAY,
    databases: tuple[tuple[int, int], ...] = (),
) -> tuple[Finding, ...]:
    """All of them, the gravest first.

    Args: `has_certificate`, one was given for the relay itself; `databases`, of the source -> of the target, for mode `write`.
    """
    found = [*_impossible(source, target), *_lost(source, target), *_watched(source, target, mode)]
    if mode is Mode.WRITE:  # its writers are clients, which a cluster takes, and it changes no roles
        found = [each for each in found if not each.id.endswith("-cluster")]
        found += [*placed(source, target, dict(databases)), *fencing(source, target)]
    else:
        found += [
            *_beyond(source, target),
            *_switching(source, target),
            *_way_back(source, target),
            *_certificate(target, "target", has_certificate),
            *_certificate(source, "source", has_certificate),
        ]
    found += [*_room(source, target), *_told(source, target)]
    order = [Weight.FORBIDS, Weight.BLOCKS, Weight.WARNS, Weight.TELLS]
    return tuple(sorted(found, key=lambda each: order.index(each.weight)))


def accept(found: tuple[Finding, ...], ids: tuple[str, ...]) -> tuple[Finding, ...]:
    """The same, those marked that are agreed to."""
    return tuple(
        Finding(each.id, each.weight, each.what, each.instead, accepted=True)
        if each.id in ids and each.weight is Weight.BLOCKS
        else each
        for each in found
    )


def blocking(found: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Those that keep a migration from being begun."""
    return tuple(
        each
        for each in found
        if each.weight is Weight.FORBIDS or (each.weight is Weight.BLOCKS and not each.accepted)
    )


def _impossible(source: EndFacts, target: EndFacts) -> Iterator[Finding]:
    if source.head.run_id == target.head.run_id:
        yield Finding(
            "same-server", Weight.FORBIDS, f"both ends are {source.head.title}", "Name another target."
        )
    for name, end in (("source", source), ("target", target)):
        if end.seen.layout is Layout.CLUSTER:
            yield Finding(
                f"{name}-cluster",
                Weight.FORBIDS,
                f"the {name} is a cluster, whose nodes take no primary from outside (REPLICAOF)",
                "Use --mode write.",
            )
        if end.head.version < OLDEST:
            yield Finding(
                f"{name}-too-old", Weight.FORBIDS, f"{end.head.title} is older than 5.0", "Upgrade it first."
            )
    if target.head.keys:
        yield Finding(
            "target-not-empty",
            Weight.BLOCKS,
            f"the target holds {target.head.keys} keys, all of which a full synchronisation replaces",
            "Empty it, or accept that they go.",
        )
    if not target.commands:
        yield Finding(
            "target-commands", Weight.WARNS, "the target does not tell which commands it knows (COMMAND)"
        )


def _watched(source: EndFacts, target: EndFacts, mode: Mode) -> Iterator[Finding]:
    does, weight = "cannot be told of a switch, and would promote a replica meanwhile", Weight.BLOCKS
    if mode is Mode.WRITE:  # roles stay what they are
        does, weight = "will list what reads it as a replica that is down", Weight.WARNS
    for name, end in (("source", source), ("target", target)):
        if end.unknown_watchers:
            yield Finding(
                f"{name}-sentinels",
                weight,
                f"Sentinels ({end.unknown_watchers}) watch the {name}, and where they are could not be heard there: they {does}",
                f"Name one of them in place of the {name}: redis://HOST:PORT?primary=NAME.",
            )


def _lost(source: EndFacts, target: EndFacts) -> Iterator[Finding]:
    if source.field_ttl_hashes and target.head.version < FIELD_TTLS_FROM[target.head.engine]:
        yield Finding(
            "losses",
            Weight.BLOCKS,
            f"{source.field_ttl_hashes} hashes have fields with TTLs, and {target.head.title} knows none: after a cutover these "
            "fields live for ever",
            "Take a target of Valkey 9 or Redis 7.4 and later, or accept the loss.",
        )
    lacking = {
        name: calls
        for name, calls in sorted(source.used.items())
        if target.commands and name not in target.commands
    }
    if lacking:
        told = ", ".join(f"{name} ({calls} calls)" for name, calls in lacking.items())
        yield Finding(
            "losses",
            Weight.BLOCKS,
            f"commands are in use that the target does not have: {told}; what they write is left out",
            "Change the applications first, or accept the loss.",
        )
    if source.vector_sets and "VADD" not in target.commands:
        yield Finding(
            "losses",
            Weight.BLOCKS,
            f"{source.vector_sets} vector sets (or more) stay behind",
            "Accept the loss, or move them by hand.",
        )
    foreign = sorted(source.modules - target.modules - CORE_MODULES)
    if foreign:
        yield Finding(
            "losses",
            Weight.BLOCKS,
            f"modules are loaded that the target lacks: {', '.join(foreign)}; keys of their types stay behind",
            "Load them there, or accept the loss.",
        )


def _beyond(source: EndFacts, target: EndFacts) -> Iterator[Finding]:
    beyond = sorted(each for each in source.used_databases if each >= target.databases)
    if beyond:
        yield Finding(
            "databases",
            Weight.BLOCKS,
            f"databases {', '.join(map(str, beyond))} are in use, and the target has {target.databases}",
            "Give it more (databases in its configuration), or accept that these stay behind.",
        )


def _switching(source: EndFacts, target: EndFacts) -> Iterator[Finding]:
    for name, end in (("source", source), ("target", target)):
        yield from denied(name, end)
        if not end.config_file:
            yield Finding(
                f"{name}-no-file",
                Weight.BLOCKS if name == "source" else Weight.WARNS,
                f"{end.head.title} runs without a configuration file, so that its new role is forgotten when it restarts"
                + (": it would come back as a primary that takes writes" if name == "source" else ""),
                "Start it with one, or accept that nobody may restart it.",
            )
    if source.head.version < (6, 2, 0):
        yield Finding(
            "source-pause",
            Weight.WARNS,
            "the source knows no pause of writes: during the switch they are refused (NOREPLICAS) instead of held",
        )


def _way_back(source: EndFacts, target: EndFacts) -> Iterator[Finding]:
    """What an older source cannot be told after the cutover."""
    writer, reader = (Release(end.head.engine, end.head.version) for end in (target, source))
    lost = list(inexact(writer, reader))
    if "HPEXPIRE" in target.commands and source.commands and "HPEXPIRE" not in source.commands:
        lost.append("TTLs of fields")
    if lost:
        yield Finding(
            "way-back",
            Weight.WARNS,
            f"after the cutover {source.head.title} follows a newer engine: what only that has does not get there exactly, and is "
            f"counted: commands that it lacks; {'; '.join(lost)}",
            "Do without these until finish, or look at the losses in status before a rollback.",
        )


def _certificate(end: EndFacts, name: str, has_certificate: bool) -> Iterator[Finding]:
    if (
        end.config.get("tls-replication") == "yes"
        and not has_certificate
        and end.config.get("holdfast") != "own"
    ):
        yield Finding(
            f"{name}-certificate",
            Weight.FORBIDS,
            f"the {name} replicates over TLS only, and the relay has no certificate that it trusts",
            "Give one with --relay-cert and --relay-key.",
        )


def _room(source: EndFacts, target: EndFacts) -> Iterator[Finding]:
    held = _int(source.head.info.get("used_memory_dataset")) or _int(source.head.info.get("used_memory"))
    limit = _int(target.config.get("maxmemory"))
    if limit and limit < held * MEMORY_MARGIN:
        yield Finding(
            "memory",
            Weight.BLOCKS,
            f"the data set takes {held / 1e6:.0f} MB at the source, and the target's maxmemory is {limit / 1e6:.0f} MB",
            "Raise it: once it is a primary it would evict, or refuse writes.",
        )
    ours, theirs = source.config.get("maxmemory-policy"), target.config.get("maxmemory-policy")
    if ours and theirs and ours != theirs:
        yield Finding(
            "eviction", Weight.WARNS, f"maxmemory-policy is {ours} at the source and {theirs} at the target"
        )
    backlog = _int(source.config.get("repl-backlog-size"))
    if backlog and backlog < SMALL_BACKLOG_BYTES:
        lasts = (
            f", about {backlog / source.write_bytes_per_s:.0f} s of its writes"
            if source.write_bytes_per_s > 1
            else ""
        )
        yield Finding(
            "backlog",
            Weight.WARNS,
            f"the source's backlog is {backlog / 1e6:.1f} MB{lasts}: a link that is broken for longer means another full "
            "synchronisation",
            "Raise repl-backlog-size there.",
        )


def _told(source: EndFacts, target: EndFacts) -> Iterator[Finding]:
    yield Finding(
        "source",
        Weight.TELLS,
        f"source: {source.head.title}, {source.head.keys} keys, {len(source.seen.servers)} servers",
    )
    yield Finding(
        "target",
        Weight.TELLS,
        f"target: {target.head.title}, {target.head.keys} keys, {len(target.seen.servers)} servers",
    )
    if source.functions:
        yield Finding(
            "functions", Weight.TELLS, f"function libraries go along: {', '.join(source.functions)}"
        )
    users = sorted(set(source.users) - set(target.users))
    if users:
        yield Finding(
            "users",
            Weight.WARNS,
            f"users of the source are not at the target, and are not moved: {', '.join(users[:20])}",
            "Make them there before the cutover.",
        )
    if source.seen.layout is Layout.SENTINEL:
        yield Finding(
            "sentinel",
            Weight.TELLS,
            "the source's Sentinels will be told, before the cutover, to leave it alone",
        )


def _int(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0


__all__ = ["EndFacts", "Finding", "Weight", "accept", "blocking", "findings"]
