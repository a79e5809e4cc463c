"""What speaks against a migration in mode `write`, beside what does in every mode. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from holdfast.migrate.ends import Layout
from holdfast.migrate.finding import EndFacts, Finding, Weight, denied
from holdfast.migrate.write.acl import USERS_FROM, forgets_transactions


def placed(source: EndFacts, target: EndFacts, named: Mapping[int, int]) -> Iterator[Finding]:
    """Where each database goes, when they are written one by one."""
    count = 1 if target.seen.layout is Layout.CLUSTER else target.databases
    wrong = sorted(there for there in named.values() if there >= count)
    if wrong:
        yield Finding(
            "databases",
            Weight.FORBIDS,
            f"a database is to become {', '.join(map(str, wrong))} of the target, which has {count}",
            "Name one that it has.",
        )
    homeless = sorted(
        each for each in source.used_databases - set(named) if each >= count or each in named.values()
    )
    if homeless:
        yield Finding(
            "databases",
            Weight.FORBIDS,
            f"databases {', '.join(map(str, homeless))} are in use at the source and have no place in the target, which has "
            f"{count}{', as every cluster' if target.seen.layout is Layout.CLUSTER else ''}",
            f"Say where each goes, for example --map-db {homeless[0]}=0, or empty it first.",
        )


def fencing(source: EndFacts, target: EndFacts) -> Iterator[Finding]:
    """What a cutover needs that fences by the rights of users."""
    for name, end in (("source", source), ("target", target)):
        yield from denied(name, end)
        if end.config.get("appendonly") == "yes" and forgets_transactions(end.head.engine, end.head.version):
            yield Finding(
                f"{name}-aof",
                Weight.BLOCKS if name == "source" else Weight.WARNS,
                f"{end.head.title} keeps an append-only file, and while it is fenced a restart leaves out every transaction in that file",
                "Turn appendonly off there until the migration is finished, or accept that nobody may restart it: it closes the way back.",
            )
        if end.head.version < USERS_FROM:
            yield Finding(
                f"{name}-no-users",
                Weight.BLOCKS,
                f"{end.head.title} knows no users with rights, by which an end is fenced: data can be moved and compared, and the "
                "cutover has to be made by hand",
                "Use --mode relay, or accept it.",
            )
        elif not end.config_file and not end.config.get("aclfile"):
            yield Finding(
                f"{name}-no-file",
                Weight.BLOCKS if name == "source" else Weight.WARNS,
                f"{end.head.title} runs without a configuration file and without an ACL file, so that a fence is forgotten when it restarts"
                + (": it would take writes again" if name == "source" else ""),
                "Start it with one, or accept that nobody may restart it.",
            )
