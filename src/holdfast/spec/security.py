"""Encryption on the wire, who may do what, and how secrets change."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from holdfast.spec.model import Flaw, Model
from holdfast.spec.names import CommandName, Name, UserName
from holdfast.spec.units import Days, Seconds

RESERVED_USER_PREFIX = "holdfast-"
"""Users that Holdfast makes for itself begin so."""
LAST_DAY_OF_EVERY_MONTH = 28


class TlsMode(StrEnum):
    """Whether connections are encrypted."""

    REQUIRED = "required"
    WHERE_AVAILABLE = "where_available"
    OFF = "off"


class TlsVersion(StrEnum):
    """The oldest TLS that is spoken; older than 1.2 is not offered."""

    V1_2 = "1.2"
    V1_3 = "1.3"


class TlsSpec(Model):
    """Encryption on the wire. `tls: required` alone stands for `tls: {mode: required}`."""

    scalar_key: ClassVar[str | None] = "mode"

    mode: TlsMode = TlsMode.WHERE_AVAILABLE
    """`required`: no engine without TLS will do; `where_available`: used when the engine has it; `off`: never."""
    min_version: TlsVersion = TlsVersion.V1_2
    """The oldest version spoken, in quotes: "1.2" or "1.3"."""
    certificate_days: Days = Field(default=365, alias="certificate_life", ge=1, le=3650)
    """How long the certificates of nodes, services and operators are good."""
    ca_days: Days = Field(default=3650, alias="ca_life", ge=1, le=36_500)
    """How long the cache's own certificate authority is good."""

    def flaws(self) -> Iterator[Flaw]:
        if self.certificate_days > self.ca_days:
            yield Flaw(
                ("certificate_life",),
                f"certificates of {self.certificate_days} days outlive their authority of {self.ca_days} days",
                "write certificate_life at or below ca_life",
            )


class AccessSpec(Model):
    """Who may do what. Services get their users from `services`; the engine's own user `default` is always off."""

    operators: tuple[UserName, ...] = Field(default=("operator",), min_length=1, max_length=100)
    """Users with all rights."""
    operator_commands: tuple[CommandName, ...] = (
        "CONFIG",
        "FLUSHALL",
        "FLUSHDB",
        "DEBUG",
        "KEYS",
        "SHUTDOWN",
    )
    """Commands that no service may use, on top of the engine's own list of dangerous and administrative ones."""

    def flaws(self) -> Iterator[Flaw]:
        for index, user in enumerate(self.operators):
            if user == "default" or user.startswith(RESERVED_USER_PREFIX):
                yield Flaw(
                    ("operators", index),
                    f"user {user} is Holdfast's or the engine's own",
                    "choose another name",
                )
        if len(set(self.operators)) != len(self.operators):
            yield Flaw(("operators",), "an operator is named more than once", "name each once")


class RotationSpec(Model):
    """How passwords change: a new one is added beside the old, clients move, the old one goes."""

    passwords_days: Days = Field(default=30, alias="passwords", ge=1, le=3650)
    """Age at which a password is replaced."""
    overlap_s: Seconds = Field(default=86_400, alias="overlap", ge=60)
    """How long the old password still works beside the new one; clients reread theirs well within half of it."""
    primary_day: int | None = Field(default=None, ge=1, le=LAST_DAY_OF_EVERY_MONTH)
    """Day of the month on which the first of two passwords is renewed; without it, only their age counts."""
    secondary_day: int | None = Field(default=None, ge=1, le=LAST_DAY_OF_EVERY_MONTH)
    """Day of the month on which the second is renewed."""

    def flaws(self) -> Iterator[Flaw]:
        if (self.primary_day is None) != (self.secondary_day is None):
            yield Flaw(
                ("primary_day",),
                "one of the two passwords has a day of renewal and the other has none",
                "name both days",
            )
        elif self.primary_day is not None and self.primary_day == self.secondary_day:
            yield Flaw(
                ("secondary_day",),
                "renewing both passwords on one day leaves clients without a valid one",
                "choose days apart",
            )
        if self.overlap_s > self.passwords_days * 86_400:
            yield Flaw(
                ("overlap",),
                "a password would still work after its successor is replaced",
                "write overlap below passwords",
            )


class SecretSpec(Model):
    """A secret that an outside vault keeps for this cache's users. Only names are written here, never values."""

    description: str = Field(default="", max_length=1000)
    """What it opens."""
    rotation_days: Days | None = Field(default=None, alias="rotation", ge=1, le=3650)
    """How often it is replaced."""
    auto_update: bool = False
    """Whether it follows by itself when what it is made of changes."""


class VaultSpec(Model):
    """An outside vault in which the applications look for their secrets."""

    name: str | None = Field(default=None, max_length=200)
    """The vault, as its place calls it."""
    secrets: Mapping[Name, SecretSpec] = Field(default_factory=dict)
    """Secrets kept there, by name."""


class SecuritySpec(Model):
    """Encryption on the wire, who may do what, and how secrets change."""

    tls: TlsSpec = TlsSpec.model_construct()
    """Encryption on the wire."""
    access: AccessSpec = AccessSpec.model_construct()
    """Who may do what."""
    rotation: RotationSpec = RotationSpec.model_construct()
    """How passwords change."""
    audit: bool = True
    """Whether what operators do, and what is refused, is kept in an append-only log."""
    vault: VaultSpec = VaultSpec.model_construct()
    """Where applications outside find their secrets."""
