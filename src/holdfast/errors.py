"""One tree of errors: each has fields for code and, as text, one sentence for people."""

from __future__ import annotations

from dataclasses import dataclass


class HoldfastError(Exception):
    """Anything Holdfast refuses or fails to do, told in one sentence: what, where, why, what to do."""


@dataclass(eq=False)
class WrongUsage(HoldfastError):
    """The command itself asks for something that cannot be meant."""

    what: str
    instead: str

    def __str__(self) -> str:
        return f"{self.what}; {self.instead}"


@dataclass(eq=False)
class Refused(HoldfastError):
    """A wish that is understood and not done, before anything was touched."""

    what: str
    why: str
    instead: str

    def __str__(self) -> str:
        return f"{self.what} is refused: {self.why}. Nothing was changed. {self.instead}"
