"""What the client refuses, and what it could not do; each is a sentence for people and fields for code."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.errors import HoldfastError


class CacheError(HoldfastError):
    """Anything that the client library raises by itself. What a loader raises is passed on as it is."""


@dataclass(eq=False)
class NamespaceUnknown(CacheError):
    """The profile, or the namespaces given, hold no such name."""

    name: str
    known: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"there is no namespace {self.name!r} here (known: {', '.join(sorted(self.known)) or 'none'}); declare it in the "
            "spec for this service and write the profile anew, or correct the name"
        )


@dataclass(eq=False)
class NamespaceInvalid(CacheError):
    """A declaration that cannot be meant."""

    name: str
    why: str

    def __str__(self) -> str:
        return f"namespace {self.name} cannot be used: {self.why}"


@dataclass(eq=False)
class KeyInvalid(CacheError, ValueError):
    """Fields or a ready key that do not fit the namespace's pattern; nothing was sent."""

    namespace: str
    pattern: str
    why: str

    def __str__(self) -> str:
        return f"no key of {self.namespace} ({self.pattern}): {self.why}"


class FieldsWrong(KeyInvalid, TypeError):
    """Fields are missing, or there are some that the pattern has not: a TypeError, as for any function."""


@dataclass(eq=False)
class ValueRefused(CacheError, ValueError):
    """A value that cannot be kept; nothing was sent."""

    namespace: str
    why: str

    def __str__(self) -> str:
        return f"{self.namespace} does not take this value: {self.why}"


@dataclass(eq=False)
class ValueUnreadable(CacheError):
    """Bytes that are no value of this namespace. Readers count it as a miss; it reaches only `on_unreadable`."""

    namespace: str
    key: str
    why: str

    def __str__(self) -> str:
        return f"the value of {self.key} cannot be read as {self.namespace}: {self.why}"


@dataclass(eq=False)
class NotWritable(CacheError):
    """The service may only read this namespace."""

    namespace: str

    def __str__(self) -> str:
        return f"this service may only read {self.namespace}; name it under the service's namespaces in the spec to write"


@dataclass(eq=False)
class CacheUnavailable(CacheError):
    """No node that may answer did so in time. A write that was sent may or may not have been done."""

    cache: str
    command: str
    waited_s: float
    why: str
    may_have_run: bool = False

    def __str__(self) -> str:
        effect = " It may have been done all the same." if self.may_have_run else ""
        return (
            f"{self.cache} did not do {self.command} within {self.waited_s:.3g} s: {self.why}.{effect} "
            f"See what is wrong: holdfast status {self.cache}"
        )


@dataclass(eq=False)
class CacheDenied(CacheError):
    """The cache does not accept this user, or not this command."""

    cache: str
    address: str
    said: str

    def __str__(self) -> str:
        return (
            f"{self.cache} at {self.address} refuses: {self.said}; check the user, the password and what the service's "
            "namespaces allow"
        )


@dataclass(eq=False)
class ServerUnfit(CacheError):
    """Something answers there that this client cannot work with."""

    address: str
    said: str

    def __str__(self) -> str:
        return f"{self.address} is no server for this client: {self.said}; Redis 6.2 or later, or Valkey, is needed"


@dataclass(eq=False)
class CommandRefused(CacheError):
    """The server answered a command with an error that no other node or try would mend."""

    address: str
    command: str
    said: str

    def __str__(self) -> str:
        return f"{self.address} refused {self.command}: {self.said}"


@dataclass(eq=False)
class CacheClosed(CacheError):
    """The cache was closed, or belongs to another event loop."""

    cache: str
    why: str = "it was closed"

    def __str__(self) -> str:
        return f"{self.cache} cannot be used here: {self.why}"


@dataclass(eq=False)
class NodeUnreached(CacheError):
    """A node could not be asked: nothing was sent."""

    address: str
    why: str
    busy: bool = False
    """It is not the node that failed: all of this process's connections to it are in use."""

    def __str__(self) -> str:
        return f"{self.address} cannot be reached: {self.why}"


@dataclass(eq=False)
class NodeLost(CacheError):
    """A node was asked and gave no answer: what was asked may or may not have been done."""

    address: str
    why: str
    link_ended: bool = False
    """The connection ended, which tells nothing of the node: the next one will."""

    def __str__(self) -> str:
        return f"{self.address} gave no answer: {self.why}"
