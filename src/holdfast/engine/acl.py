"""Who may do what on a data node: one user for each service, and one for each of Holdfast's own tasks (pure).

`default` is off. A service reaches only the keys of its namespaces, and only commands that a cache client needs;
what is dangerous to others (the engine's own category, and the spec's list on top) is left to the operators.
Passwords come in as SHA-256 hashes, which are all that the engine needs to check them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from holdfast.engine.build import EngineBuild
from holdfast.errors import HoldfastError
from holdfast.spec.cache import Spec
from holdfast.spec.service import Access, ServiceSpec
from holdfast.spec.topology import Mode

DEFAULT_USER = "default"
REPLICATION_USER = "holdfast-replication"
SUPERVISOR_USER = "holdfast-supervisor"
BACKUP_USER = "holdfast-backup"
SENTINEL_USER = "holdfast-sentinel"
OWN_USERS = (REPLICATION_USER, SUPERVISOR_USER, BACKUP_USER, SENTINEL_USER)
"""Users of Holdfast itself; no service and no operator may take their names."""

ALL_KEYS, ALL_CHANNELS = "~*", "&*"
_DEFAULT = ("reset", "off", ALL_KEYS, ALL_CHANNELS, "+@all")
"""Off, and without a password: nobody can be this user. All its rights, because Redis 7.0 and 8.0 and Valkey 8.0 and 8.1 load
an append-only file as it and drop every transaction in it where it may not write (measured; Redis 6.2 and Valkey 9.1 do not)."""
_HASH = re.compile(r"[0-9a-f]{64}")
_NO_RULE = re.compile(r"[\x00-\x20\x7f]")


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# What every client says about itself and its connection. Not the category @connection: on 6.2 it lacks all of CLIENT,
# and on 7.0 it holds CLIENT KILL.
_CONNECTING = _names("""
    ping echo auth hello quit reset select time command asking readonly readwrite wait waitaof
    client|id client|info client|getname client|setname client|setinfo client|capa client|reply client|no-touch
    client|tracking client|trackinginfo client|caching client|getredir
    cluster|slots cluster|shards cluster|nodes cluster|info cluster|keyslot cluster|myid cluster|myshardid
    info role
""")
# INFO and ROLE are in @dangerous for what they tell, and are given back: topology refresh and health checks of the
# common clients need them.
_SCRIPTS = _names("eval evalsha eval_ro evalsha_ro fcall fcall_ro script|load script|exists")
_SUBSCRIBING = _names(
    "subscribe unsubscribe psubscribe punsubscribe ssubscribe sunsubscribe publish spublish"
)
# These tell the names of keys that belong to other services: a user's key patterns do not filter them.
_SEES_ALL_KEYS = _names("scan clusterscan randomkey dbsize")
_INVALIDATIONS = "__redis__:invalidate"
_SENTINEL_CHANNEL = "__sentinel__:hello"

_REPLICATION = _names("psync replconf ping")
_SLOT_IMPORT = _names("cluster|syncslots select multi exec @write")
_NEVER_BY_REPLICATION = _names("flushall flushdb swapdb migrate")
_NEVER_BY_SUPERVISOR = _names("debug module monitor flushall flushdb swapdb keys")
_BACKUP = _names("""
    psync sync replconf ping bgsave lastsave info role time wait select readonly command hello
    client|setname client|setinfo client|id client|no-touch cluster|nodes cluster|slots cluster|shards cluster|info
    cluster|myid function|dump
""")
_SENTINEL = _names("""
    ping info role multi exec slaveof replicaof failover config|rewrite subscribe publish client|setname client|setinfo
    client|kill client|pause client|unpause script|kill
""")
_ASKS_SENTINEL = _names("""
    ping auth hello info role command subscribe unsubscribe psubscribe punsubscribe
    client|setname client|getname client|id sentinel|get-master-addr-by-name sentinel|master sentinel|masters
    sentinel|slaves sentinel|replicas sentinel|sentinels sentinel|myid
""")
# A Sentinel has a command table of its own, which no data node tells; these came with Valkey 8.0.
_ASKS_SENTINEL_OF_VALKEY = _names(
    "sentinel|get-primary-addr-by-name sentinel|primary sentinel|primaries client|setinfo"
)
_NEW_SENTINEL_WORDS = ("valkey", (8, 0, 0))


@dataclass(eq=False)
class UserNameTaken(HoldfastError):
    """Two users with one name."""

    user: str
    by: str

    def __str__(self) -> str:
        return (
            f"user {self.user} is declared twice, the second time as {self.by}; give one of them another name"
        )


@dataclass(eq=False)
class UserWithoutPassword(HoldfastError):
    """A user that nobody could log in as, or anybody."""

    user: str

    def __str__(self) -> str:
        return f"there is no password (as SHA-256 in hexadecimal digits) for user {self.user}; nothing was written"


@dataclass(eq=False)
class RuleNotWritable(HoldfastError):
    """A name or pattern that an ACL file cannot hold: it separates rules by spaces and knows no quotes."""

    user: str
    rule: str

    def __str__(self) -> str:
        return (
            f"user {self.user} cannot have the rule {self.rule!r}: an ACL file cannot hold spaces and control "
            "characters. Nothing was written. Use a key pattern without them."
        )


@dataclass(frozen=True)
class AclUser:
    """One user, and the rules that make it from nothing."""

    name: str
    rules: tuple[str, ...]

    @property
    def line(self) -> str:
        """As the ACL file writes it."""
        return " ".join(("user", self.name, *self.rules))


def acl_rules(spec: Spec, build: EngineBuild, hashes: Mapping[str, tuple[str, ...]]) -> tuple[AclUser, ...]:
    """The users of every data node; `hashes` has each user's passwords (two while one is being replaced).

    Raises: UserNameTaken, UserWithoutPassword, RuleNotWritable.
    """
    allows = _Vocabulary(build)
    users = [
        AclUser(DEFAULT_USER, _DEFAULT),
        _own(REPLICATION_USER, hashes, *_replication(spec, build, allows)),
        _own(SUPERVISOR_USER, hashes, ALL_KEYS, ALL_CHANNELS, "+@all", *allows.minus(_NEVER_BY_SUPERVISOR)),
        _own(BACKUP_USER, hashes, "%R~*" if allows.read_only_keys else ALL_KEYS, "+@read", *allows.minus(("keys",)),
             *allows.plus(_BACKUP)),
    ]  # fmt: skip
    if spec.topology.mode is Mode.SENTINEL:
        users.append(_own(SENTINEL_USER, hashes, f"&{_SENTINEL_CHANNEL}", "-@all", *allows.plus(_SENTINEL)))
    users += (_own(name, hashes, ALL_KEYS, ALL_CHANNELS, "+@all") for name in spec.security.access.operators)
    users += (_own(spec.user_of(name), hashes, *_service(spec, allows, name)) for name in spec.services)
    _no_name_twice(users)
    return tuple(users)


def sentinel_acl_rules(
    spec: Spec, build: EngineBuild, hashes: Mapping[str, tuple[str, ...]]
) -> tuple[AclUser, ...]:
    """The users of every Sentinel: services may ask where the primary is, Sentinels talk to each other.

    Raises: UserNameTaken, UserWithoutPassword, RuleNotWritable.
    """
    name, since = _NEW_SENTINEL_WORDS
    newer = _ASKS_SENTINEL_OF_VALKEY if build.name == name and build.version >= since else ()
    asking = (ALL_CHANNELS, "-@all", *(f"+{name}" for name in (*_ASKS_SENTINEL, *newer)))
    users = [
        AclUser(DEFAULT_USER, ("reset", "off")),
        _own(SENTINEL_USER, hashes, ALL_CHANNELS, "+@all"),
        _own(SUPERVISOR_USER, hashes, ALL_CHANNELS, "+@all"),
        *(_own(name, hashes, ALL_CHANNELS, "+@all") for name in spec.security.access.operators),
        *(_own(spec.user_of(name), hashes, *asking) for name in spec.services),
    ]
    _no_name_twice(users)
    return tuple(users)


def render_acl(users: Iterable[AclUser]) -> str:
    """Text of the ACL file (0600: a hash of a weak password can be guessed)."""
    return "".join(f"{user.line}\n" for user in users)


def parse_acl(text: str) -> tuple[AclUser, ...]:
    """Read back what `render_acl` wrote; lines that are no user are left out."""
    found = (line.split() for line in text.splitlines())
    return tuple(
        AclUser(words[1], tuple(words[2:])) for words in found if len(words) > 2 and words[0] == "user"
    )


def user_setrules(user: AclUser) -> list[str]:
    """Arguments of ACL SETUSER that make `user` anew, whatever it was.

    Changes go this way, never by ACL LOAD: on 6.2 and 7.0 that one disconnects every client.
    """
    rules = list(user.rules)
    return [user.name, *(rules if rules[:1] == ["reset"] else ["reset", *rules])]


@dataclass(frozen=True)
class UserChanges:
    """What leads from the users that are to those wanted."""

    set: tuple[AclUser, ...]
    """By ACL SETUSER, with `user_setrules`."""
    delete: tuple[str, ...]
    """By ACL DELUSER, which also disconnects them."""


def changed_users(wanted: Iterable[AclUser], before: Iterable[AclUser]) -> UserChanges:
    """From the users written before (`parse_acl` of the file) to those wanted."""
    now, then = {user.name: user for user in wanted}, {user.name: user for user in before}
    return UserChanges(
        set=tuple(user for name, user in now.items() if then.get(name) != user),
        delete=tuple(name for name in then if name not in now),
    )


def acl_shortfalls(spec: Spec, build: EngineBuild) -> tuple[str, ...]:
    """What the spec asks for and this engine's ACL cannot hold to, one sentence each."""
    if _Vocabulary(build).read_only_keys:
        return ()
    return tuple(
        f"service {name} may also write the namespaces it should only read ({', '.join(reads)}): "
        f"{build.title} knows no read-only key patterns, 7.0 and later do"
        for name, (writes, reads) in ((name, _uses(service)) for name, service in spec.services.items())
        if writes and reads
    )


class _Vocabulary:
    """Which command names this build takes in a rule."""

    def __init__(self, build: EngineBuild) -> None:
        self._build = build
        self._lists_subcommands = any("|" in name for name in build.commands)
        self.read_only_keys = self._lists_subcommands
        """%R~ came with 7.0, as the listing of subcommands did."""

    def knows(self, name: str) -> bool:
        """`name` is a command, a subcommand (command|sub) or a category (@name)."""
        if name.startswith("@"):
            return True
        if "|" in name and not self._lists_subcommands:  # 6.2 takes any first argument after '|'
            return self._build.knows_command(name.partition("|")[0])
        return self._build.knows_command(name)

    def plus(self, names: Iterable[str]) -> Iterator[str]:
        return (f"+{name}" for name in names if self.knows(name))

    def minus(self, names: Iterable[str]) -> Iterator[str]:
        """6.2 cannot take one subcommand away: there the whole command goes."""
        for name in names:
            whole = name if self._lists_subcommands else name.partition("|")[0]
            if self.knows(whole):
                yield f"-{whole}"


def _own(name: str, hashes: Mapping[str, tuple[str, ...]], *rules: str) -> AclUser:
    """A user that is on, with its passwords and these rules."""
    passwords = hashes.get(name, ())
    if not passwords or not all(_HASH.fullmatch(each) for each in passwords):
        raise UserWithoutPassword(name)
    whole = ("reset", "on", *(f"#{each}" for each in passwords), *rules)
    for word in (name, *whole):
        if _NO_RULE.search(word):
            raise RuleNotWritable(name, word)
    return AclUser(name, whole)


def _replication(spec: Spec, build: EngineBuild, allows: _Vocabulary) -> Iterator[str]:
    """What a replica needs of its primary; in a cluster whose engine moves slots by itself also what the receiving
    node checks: it runs the incoming writes as this user (seen with Valkey 9.1)."""
    moves_slots = spec.topology.mode is Mode.CLUSTER and build.knows_command("CLUSTER|SYNCSLOTS")
    if moves_slots:
        yield from (ALL_KEYS, ALL_CHANNELS)
    yield "-@all"
    if moves_slots:
        yield from allows.plus(_SLOT_IMPORT)
        yield from allows.minus(_NEVER_BY_REPLICATION)
    yield from allows.plus(_REPLICATION)


def _service(spec: Spec, allows: _Vocabulary, name: str) -> Iterator[str]:
    service, namespaces = spec.services[name], spec.keyspace.namespaces
    writes, reads = (sorted(namespaces[each].key_glob for each in names) for names in _uses(service))
    only_read = "%R~" if allows.read_only_keys else "~"
    yield from (f"~{glob}" for glob in writes)
    yield from (f"{only_read}{glob}" for glob in reads)
    # Channels named like one's keys, and the one that tells which cached keys are stale.
    yield from (f"&{channel}" for channel in (_INVALIDATIONS, *sorted((*writes, *reads))))
    yield from ("-@all", "+@read")
    if writes:
        yield "+@write"
    denied = {command.lower() for command in spec.security.access.operator_commands}
    yield from ("+@transaction", "-@dangerous", "-@admin")
    yield from allows.minus((*_SEES_ALL_KEYS, *sorted(denied)))
    granted = (*_CONNECTING, *_SCRIPTS, *_SUBSCRIBING)
    yield from allows.plus(each for each in granted if not {each, each.partition("|")[0]} & denied)


def _uses(service: ServiceSpec) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Namespaces that the service writes, and those that it only reads."""
    if service.access is Access.READ:
        return (), (*service.namespaces, *service.reads)
    return service.namespaces, service.reads


def _no_name_twice(users: Iterable[AclUser]) -> None:
    seen: set[str] = set()
    for user in users:
        if user.name in seen:
            raise UserNameTaken(
                user.name, "one of Holdfast's own" if user.name in OWN_USERS else "a service or an operator"
            )
        seen.add(user.name)
