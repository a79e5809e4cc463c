"""Files of a cache's own folder that cannot be used: what that means for the cache, and how each comes back."""

from __future__ import annotations

import re
from dataclasses import dataclass

from holdfast.errors import HoldfastError

_PASSWORD = re.compile(r"[!-~]{8,512}")
"""What Holdfast writes has 43 letters and signs; one that an operator put there may be shorter, but never empty."""


@dataclass(eq=False)
class SpecLost(HoldfastError):
    """The spec that was kept with a cache is not one."""

    path: str
    why: str

    def __str__(self) -> str:
        return (
            f"the spec that was kept of the cache, {self.path}, cannot be used ({self.why}); the nodes and their data are "
            "not touched: name the spec's own file instead of the cache, holdfast up FILE keeps it anew"
        )


@dataclass(eq=False)
class PasswordUnusable(HoldfastError):
    """A user's password file does not hold a password: with an empty one, everybody would get in."""

    path: str
    why: str

    def __str__(self) -> str:
        return (
            f"the password file {self.path} {self.why}; nothing was changed: restore it, or delete it and run holdfast up "
            "with the spec, which gives that user a new password"
        )


@dataclass(eq=False)
class AuthorityLost(HoldfastError):
    """The authority that a cache's certificates were signed with is gone: a new one would shut everybody out."""

    path: str
    why: str
    instead: str

    def __str__(self) -> str:
        return f"the authority's file {self.path} {self.why}; nothing was changed: {self.instead}"


def password_in(path: str, content: bytes) -> str:
    """The password that a file's content is, a line's end behind it ignored. Raises: PasswordUnusable."""
    text = content.decode("ascii", errors="replace").strip()
    if not text:
        raise PasswordUnusable(path, "is empty")
    if not _PASSWORD.fullmatch(text):
        raise PasswordUnusable(path, "holds no password (8 to 512 printable signs on one line)")
    return text
