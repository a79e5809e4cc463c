"""Advice on keys: what may be dropped, how long things live, and what must lie together."""

from collections.abc import Iterator

from holdfast.spec.cache import Spec
from holdfast.spec.hint import AdviceSeverity, Hint, Rule
from holdfast.spec.keyspace import Kind, NamespaceSpec, Tier
from holdfast.spec.topology import Mode
from holdfast.spec.units import duration_text


def state_may_be_dropped(spec: Spec) -> Iterator[Hint]:
    """HF-MEM-001."""
    if not spec.memory.policy.drops_any_key:
        return
    for name, namespace in spec.keyspace.namespaces.items():
        if namespace.kind.is_state:
            yield Hint(
                ("keyspace", "namespaces", name, "kind"),
                f"{name} ({namespace.kind}) may be dropped by {spec.memory.policy}",
            )


def never_dropped(spec: Spec) -> Iterator[Hint]:
    """HF-MEM-002."""
    if not spec.memory.policy.drops_expiring_keys:
        return
    for name, namespace in spec.keyspace.namespaces.items():
        if namespace.ttl_s is None:
            yield Hint(
                ("keyspace", "namespaces", name, "ttl"),
                f"keys of {name} have no TTL, so {spec.memory.policy} never drops them",
            )


def undecided_ttl(spec: Spec) -> Iterator[Hint]:
    """HF-MEM-003."""
    for name, namespace in spec.keyspace.namespaces.items():
        if namespace.undecided_ttl:
            yield Hint(
                ("keyspace", "namespaces", name, "ttl"), f"nobody has said how long keys of {name} live"
            )


def rights_outlive_session(spec: Spec) -> Iterator[Hint]:
    """HF-TTL-002."""
    namespaces = spec.keyspace.namespaces
    for name, namespace in namespaces.items():
        for session in _sessions_of(name, namespace, spec):
            shortest_s = min(
                [
                    ttl_s
                    for ttl_s in (namespaces[session].ttl_s, *namespaces[session].shorter_ttls.values())
                    if ttl_s
                ]
                or [0]
            )
            if shortest_s and (namespace.ttl_s is None or namespace.ttl_s > shortest_s):
                lives = duration_text(namespace.ttl_s * 1000) if namespace.ttl_s else "without end"
                yield Hint(
                    ("keyspace", "namespaces", name, "ttl"),
                    f"{name} lives {lives}, {session} as short as {duration_text(shortest_s * 1000)}",
                )


def _sessions_of(name: str, namespace: NamespaceSpec, spec: Spec) -> tuple[str, ...]:
    """What it follows, as declared; for rights that do not say, the sessions of the same owner."""
    if namespace.follows is not None:
        return (namespace.follows,)
    if not any(word in name for word in ("permission", "rights", "roles")):
        return ()
    return tuple(
        other
        for other, at in spec.keyspace.namespaces.items()
        if at.kind is Kind.SESSION and at.owner == namespace.owner
    )


def first_tier_outlives_state(spec: Spec) -> Iterator[Hint]:
    """HF-TTL-003."""
    l1_s = spec.keyspace.l1.ttl_s
    for name, namespace in spec.keyspace.namespaces.items():
        if (
            namespace.kind.is_state
            and namespace.tier is Tier.L1_L2
            and namespace.ttl_s is not None
            and l1_s >= namespace.ttl_s
        ):
            yield Hint(
                ("keyspace", "namespaces", name, "tier"),
                f"{name} lives {duration_text(namespace.ttl_s * 1000)}, its copy in an application {duration_text(l1_s * 1000)}",
            )


def apart_in_a_cluster(spec: Spec) -> Iterator[Hint]:
    """HF-KEY-001."""
    if spec.topology.mode is not Mode.CLUSTER:
        return
    for group, together in spec.keyspace.together.items():
        tags = {name: spec.keyspace.namespaces[name].keys.hash_tag for name in together.namespaces}
        untagged = [name for name, tag in tags.items() if tag is None]
        if untagged:
            yield Hint(
                ("keyspace", "together", group),
                f"{', '.join(untagged)} has no hash tag"
                if len(untagged) == 1
                else f"{', '.join(untagged)} have no hash tag",
            )
        elif len(set(tags.values())) > 1:
            named = ", ".join(f"{name} by {tag}" for name, tag in tags.items())
            yield Hint(("keyspace", "together", group), f"they are placed by different fields: {named}")


KEYSPACE_RULES = (
    Rule(
        "HF-MEM-001",
        AdviceSeverity.ERROR,
        "State may be dropped like any cached value",
        "A full node drops what was used least, whatever it is: users are logged out, failed logins are forgotten and the"
        " next guess is free, an open breaker closes, a lock is lost.",
        "Put state into a cache of its own with noeviction or volatile-ttl; or give every cached key a TTL, use"
        " volatile-lru and keep the state elsewhere.",
        "valkey.io/topics/lru-cache",
        state_may_be_dropped,
    ),
    Rule(
        "HF-MEM-002",
        AdviceSeverity.WARN,
        "Keys that a full node never drops",
        "Under a volatile policy only keys with a TTL may go. The others fill the node until writes fail.",
        "Give these keys a TTL, or use an allkeys policy.",
        "Azure Cache for Redis, best practices for memory management (2022-03)",
        never_dropped,
    ),
    Rule(
        "HF-MEM-003",
        AdviceSeverity.ERROR,
        "A family of keys without a decision on its life",
        "Keys without a TTL stay until somebody deletes them; whether that is meant, nobody can say later.",
        "Write ttl: 1h, or ttl: none with a ttl_reason.",
        "every managed cache that filled up",
        undecided_ttl,
    ),
    Rule(
        "HF-TTL-002",
        AdviceSeverity.WARN,
        "Rights outlive the session that they belong to",
        "A right that was taken away is still found in the cache.",
        "Let rights live no longer than the shortest session, and delete them when they change.",
        "comparison of TTLs in this spec",
        rights_outlive_session,
    ),
    Rule(
        "HF-TTL-003",
        AdviceSeverity.WARN,
        "State is copied for longer than it is true",
        "An application goes on with its own copy when the state has long changed: a breaker that closed still looks open.",
        "Write tier: l2 for state.",
        "comparison of TTLs in this spec",
        first_tier_outlives_state,
    ),
    Rule(
        "HF-KEY-001",
        AdviceSeverity.ERROR,
        "Keys used together lie apart",
        "A cluster refuses a command, transaction or script whose keys are in different slots (CROSSSLOT).",
        "Mark the shared field as the hash tag in each pattern: {{userId}}.",
        "Cluster specification, valkey.io/topics/cluster-spec",
        apart_in_a_cluster,
    ),
)
