"""The keys of the cache: families with a pattern, a time to live, an owner and a way to be used."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_serializer, model_validator

from holdfast.spec.model import Flaw, Model
from holdfast.spec.names import Name, NamespaceName
from holdfast.spec.pattern import KeyPattern, PatternText, parse_pattern
from holdfast.spec.units import Bytes, Milliseconds, Percent, Seconds, duration_schema, duration_text

NO_TTL = "none"


def _not_none_alone(given: Any) -> Any:
    if given == NO_TTL:
        raise ValueError("ttl: none needs a ttl_reason that says why these keys may live forever")
    return given


class Kind(StrEnum):
    """What the values of a namespace are to those who wrote them."""

    CACHE = "cache"
    SESSION = "session"
    COUNTER = "counter"
    BREAKER = "breaker"
    LOCK = "lock"

    @property
    def is_state(self) -> bool:
        """Whether dropping a value changes what the application does, and not only how fast."""
        return self is not Kind.CACHE


class Tier(StrEnum):
    """Where values are kept."""

    L1_L2 = "l1+l2"
    L2 = "l2"


class ReadFrom(StrEnum):
    """Which node a client reads from."""

    PRIMARY = "primary"
    REPLICA_PREFERRED = "replica_preferred"
    REPLICA = "replica"
    NEAREST = "nearest"


class TrafficSpec(Model):
    """What is expected of a namespace: load for `prove`, sizes for advice."""

    keys: int = Field(default=0, ge=0)
    """Keys alive at the same time."""
    value_bytes: Bytes = Field(default=0, alias="value", ge=0)
    """Size of a value."""
    reads_per_s: float = Field(default=0, ge=0)
    """Reads each second."""
    writes_per_s: float = Field(default=0, ge=0)
    """Writes each second."""
    skew: float = Field(default=0, ge=0, le=3)
    """How uneven the keys are used: 0 evenly, 1 as words in a language (the exponent of a Zipf distribution)."""


class PolicySpec(Model):
    """How the values of a namespace are read and kept."""

    read: ReadFrom = ReadFrom.PRIMARY
    """Which node is read from; a replica may answer with an older value."""
    stale_bound_ms: Milliseconds | None = Field(default=None, alias="stale_bound", ge=0)
    """How old an answer from a replica or from the first tier may be."""
    jitter_percent: Percent = Field(default=10, alias="jitter", ge=0, le=90)
    """Share of the TTL by which expiries are spread (only shortened), so that they do not all fall at once."""
    negative_ttl_s: Seconds | None = Field(default=None, alias="negative", ge=1)
    """How long "there is no such thing" is remembered; without it, never."""
    lease_ms: Milliseconds | None = Field(default=None, alias="lease", ge=1)
    """How long one loader may hold the others off while it fetches a missing value; without it, they all fetch."""
    compress_above_bytes: Bytes | None = Field(default=None, alias="compress_above", ge=64)
    """Size from which values are compressed; without it, never."""
    serve_stale_s: Seconds | None = Field(default=None, alias="serve_stale", ge=1)
    """How long past its end a value may still be served while its loader fails or another process loads it; without
    it, never."""
    early_refresh: float | None = Field(default=None, gt=0, le=10)
    """How eagerly a value is loaded anew before it ends, by chance and the time its loader takes: 1 is usual, more is
    earlier; without it, never."""


class NamespaceSpec(Model):
    """One family of keys."""

    pattern: PatternText
    """What its keys look like: `bill:inquiry:{customerId}:{month}`. Double braces mark the hash tag, which decides the
    slot in a cluster and stays in the key: `cart:{{userId}}:items` gives `cart:{42}:items`."""
    ttl_s: Annotated[Seconds | None, BeforeValidator(_not_none_alone), duration_schema(NO_TTL)] = Field(
        default=None, alias="ttl", ge=1
    )
    """How long its keys live (the longest, where `shorter_ttls` are named too), or `none`, with `ttl_reason`."""
    ttl_reason: str = Field(default="", max_length=1000)
    """Why `ttl: none` is right here."""
    shorter_ttls: Mapping[Name, Seconds] = Field(default_factory=dict)
    """Shorter lives that a writer chooses in cases that are named here."""
    owner: Name | None = None
    """The service that answers for these keys."""
    kind: Kind = Kind.CACHE
    """What the values are to those who wrote them; all but `cache` are state, whose loss is noticed."""
    tier: Tier = Tier.L2
    """`l2`: in this cache only; `l1+l2`: in each application's memory too."""
    description: str = Field(default="", max_length=1000)
    """What the values are."""
    follows: NamespaceName | None = None
    """A namespace without whose keys these mean nothing, as rights mean nothing without their session."""
    personal_data: tuple[str, ...] = ()
    """Fields of the pattern that say who a person is."""
    traffic: TrafficSpec = TrafficSpec.model_construct()
    """What is expected of it."""
    policy: PolicySpec = PolicySpec.model_construct()
    """How its values are read and kept."""

    @model_validator(mode="before")
    @classmethod
    def _none_needs_a_reason(cls, given: Any) -> Any:
        """`ttl: none` is kept as no TTL with a reason; no TTL and no reason is undecided, which advice HF-MEM-003 says."""
        if not isinstance(given, Mapping) or given.get("ttl") != NO_TTL:
            return given
        reason = given.get("ttl_reason")
        if not isinstance(reason, str) or not reason.strip():
            return given  # refused by the field itself, in words
        return {key: value for key, value in given.items() if key != "ttl"}

    @field_serializer("ttl_s", when_used="json")
    def _ttl_text(self, ttl_s: int | None) -> str | None:
        if ttl_s is None:
            return NO_TTL if self.ttl_reason else None
        return duration_text(ttl_s * 1000)

    @property
    def keys(self) -> KeyPattern:
        """The pattern, taken apart."""
        return parse_pattern(self.pattern)

    @property
    def key_glob(self) -> str:
        """The engines' glob for the keys: `bill:inquiry:*:*`."""
        return self.keys.glob

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the pattern's fields, in order."""
        return self.keys.fields

    @property
    def undecided_ttl(self) -> bool:
        """Whether nobody has said how long the keys live."""
        return self.ttl_s is None and not self.ttl_reason

    def flaws(self) -> Iterator[Flaw]:
        fields = self.fields
        if self.ttl_s is not None and self.ttl_reason:
            yield Flaw(
                ("ttl_reason",),
                "there is a TTL, so there is nothing to excuse",
                "write ttl: none, or leave ttl_reason out",
            )
        for case, shorter_s in self.shorter_ttls.items():
            if self.ttl_s is not None and not 0 < shorter_s <= self.ttl_s:
                yield Flaw(
                    ("shorter_ttls", case),
                    f"{duration_text(shorter_s * 1000)} is not shorter than ttl",
                    "write the longest as ttl",
                )
        for index, field in enumerate(self.personal_data):
            if field not in fields:
                yield Flaw(
                    ("personal_data", index),
                    f"{field} is no field of {self.pattern}",
                    f"name one of: {', '.join(fields) or 'none'}",
                )
        if self.policy.negative_ttl_s and self.ttl_s and self.policy.negative_ttl_s > self.ttl_s:
            yield Flaw(
                ("policy", "negative"),
                "an absence would be remembered longer than a value",
                "write negative at or below ttl",
            )


class TogetherSpec(Model):
    """Namespaces whose keys are used in one command, transaction or script; in a cluster they must share a slot."""

    namespaces: tuple[NamespaceName, ...] = Field(min_length=1, max_length=50)
    """Which they are; one alone means several of its keys at once."""
    description: str = Field(default="", max_length=1000)
    """What is done with them."""


class L1Spec(Model):
    """The first tier, in each application's memory, of the namespaces with `tier: l1+l2`."""

    ttl_s: Seconds = Field(default=300, alias="ttl", ge=1)
    """How long a value is kept there at most."""
    max_entries: int = Field(default=2000, ge=1, le=10_000_000)
    """Entries kept there at most; the least recently used goes first."""


class KeyspaceSpec(Model):
    """The keys of the cache."""

    namespaces: Mapping[NamespaceName, NamespaceSpec] = Field(default_factory=dict, max_length=2000)
    """Families of keys, by name."""
    together: Mapping[Name, TogetherSpec] = Field(default_factory=dict)
    """Keys that are used in one command, transaction or script."""
    l1: L1Spec = L1Spec()
    """The first tier, in each application's memory."""

    def flaws(self) -> Iterator[Flaw]:
        yield from self._overlaps()
        for name, group in self.together.items():
            for index, member in enumerate(group.namespaces):
                if member not in self.namespaces:
                    yield Flaw(
                        ("together", name, "namespaces", index),
                        f"there is no namespace {member}",
                        needs=("keyspace", "namespaces", member),
                    )
        for name, namespace in self.namespaces.items():
            if namespace.follows is not None and namespace.follows not in self.namespaces:
                yield Flaw(
                    ("namespaces", name, "follows"),
                    f"there is no namespace {namespace.follows}",
                    needs=("keyspace", "namespaces", namespace.follows),
                )

    def _overlaps(self) -> Iterator[Flaw]:
        """Two namespaces that claim one key: nobody could say whose it is. Only patterns that can meet are compared."""
        taken = [(name, namespace.keys) for name, namespace in self.namespaces.items()]
        for index, (name, keys) in enumerate(taken):
            for earlier, earlier_keys in taken[:index]:
                shorter = min(len(keys.prefix), len(earlier_keys.prefix))
                if keys.prefix[:shorter] == earlier_keys.prefix[:shorter] and keys.overlaps(earlier_keys):
                    yield Flaw(
                        ("namespaces", name, "pattern"),
                        f"a key can belong to both {name} ({keys.text}) and {earlier} ({earlier_keys.text})",
                        "tell them apart by literal text",
                        needs=("keyspace", "namespaces", name, "pattern"),
                    )
