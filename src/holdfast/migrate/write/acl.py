"""What a user may do, as ACL LIST tells it, taken apart so that a fence can take all writing away and give it back. Pure.

Passwords, keys and channels are never touched, and never kept. Source: ACLDescribeUser and ACLSetUser in src/acl.c of Redis
6.2 to 8.0 and Valkey 8.0 to 9.1; `off` alone leaves open connections writing (measured).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

USERS_FROM = (6, 0, 0)
CHANNELS_FROM = (6, 2, 0)
SELECTORS_FROM = (7, 0, 0)
"""From here on a user may have further sets of rights, and ACL DRYRUN tells what it may do."""


def forgets_transactions(engine: str, version: tuple[int, int, int]) -> bool:
    """Whether a server whose `default` may not write leaves out every transaction when it loads its append-only file.

    Measured: Redis 7.0 and 8.0, Valkey 8.0 and 8.1 do, Redis 6.2 and Valkey 9.1 do not. The loader is `default`, and EXEC asks for rights.
    """
    return version >= SELECTORS_FROM and not (engine == "valkey" and version >= (9, 1, 0))


@dataclass(frozen=True)
class Rights:
    """Which commands a user may use."""

    commands: tuple[str, ...]
    """Rules in order: `+@all`, `-@dangerous`, `+get`."""
    selectors: tuple[str, ...] = ()
    """Further sets of rights, each in its parentheses."""


def read_user(line: str) -> tuple[str, Rights]:
    """One line of ACL LIST: `user NAME on #hash ~* &* +@all (~x* +get)`."""
    words = line.split()
    commands: list[str] = []
    selectors: list[str] = []
    within: list[str] = []
    for word in words[2:]:
        if within or word.startswith("("):
            within.append(word)
            if word.endswith(")"):
                selectors.append(" ".join(within))
                within = []
        elif word[:1] in {"+", "-"} or word in {"allcommands", "nocommands"}:
            commands.append(word)
    return words[1], Rights(tuple(commands), tuple(selectors))


def categories_named(users: Iterable[Rights]) -> frozenset[str]:
    """The categories that `may_write` has to know: those of the rules, and `write`."""
    named = (rule[2:] for rights in users for rule in rights.commands if rule[1:2] == "@")
    return frozenset(named) - {"all"} | {"write"}


def may_write(rights: Rights, categories: Mapping[str, frozenset[str]]) -> bool:
    """Whether the rules, one after the other, leave the user any write command.

    Redis 6 does not list what was said: it finds rules of the same effect, in which `-@write` may stand anywhere.
    Args: `categories`, the commands of each, as the server has them (ACL CAT), in lower case.
    """
    writes, allowed = categories["write"], frozenset[str]()
    for rule in rights.commands:
        what = rule[1:]
        if rule in {"allcommands", "+@all"}:
            allowed = writes
        elif rule in {"nocommands", "-@all"}:
            allowed = frozenset()
        elif rule.startswith("+"):
            allowed |= writes & (categories[what[1:]] if what[:1] == "@" else {what.partition("|")[0]})
        else:
            allowed -= categories[what[1:]] if what[:1] == "@" else {what}
    return bool(allowed)


def without_writes(version: tuple[int, int, int]) -> tuple[str, ...]:
    """What takes every write command away, whatever gave it: words of ACL SETUSER behind the name."""
    return ("clearselectors", "-@write") if version >= SELECTORS_FROM else ("-@write",)


def as_before(rights: Rights, version: tuple[int, int, int]) -> tuple[str, ...]:
    """What gives a user back what it was allowed: words of ACL SETUSER behind the name."""
    head = ("clearselectors", "nocommands") if version >= SELECTORS_FROM else ("nocommands",)
    return (*head, *rights.commands, *rights.selectors)


def own_rights(password_hash: str, version: tuple[int, int, int]) -> tuple[str, ...]:
    """What makes a user that may do everything, with that password alone. Args: `password_hash`, SHA-256 in hex."""
    channels = ("allchannels",) if version >= CHANNELS_FROM else ()
    return ("reset", "on", f"#{password_hash}", "allkeys", *channels, "allcommands")
