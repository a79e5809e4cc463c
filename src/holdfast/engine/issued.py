"""What the rest of Holdfast knows of a certificate: its PEM, whom it is for, and why one is of no use.

What makes and reads certificates is `engine.tls`; its library is slow to import, and most commands need none of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from holdfast.errors import HoldfastError


@dataclass(eq=False)
class CertificateUnusable(HoldfastError):
    """A certificate or key that cannot do what it is for."""

    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what} cannot be used: {self.why}. Nothing was changed. Make new certificates: holdfast up issues missing ones"


class Subject(StrEnum):
    """Whom a certificate is for."""

    NODE = "node"
    """A server towards clients, and a client towards other nodes."""
    SERVICE = "service"
    OPERATOR = "operator"


@dataclass(frozen=True)
class Issued:
    """A certificate and its private key, both PEM; the key shows in no representation."""

    cert_pem: bytes
    key_pem: bytes = field(repr=False)
