"""Which verbs work on which operating system."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.errors import HoldfastError

EVERYWHERE = frozenset({"init", "check", "spec", "docs", "rdb"})
"""Verbs that only read and write text, and so need no engine, no /proc and no unix of a certain kind."""


@dataclass(eq=False)
class PlatformUnsupported(HoldfastError):
    """The verb runs real servers, which Holdfast does on Linux only."""

    platform: str
    verb: str

    def __str__(self) -> str:
        name = {"darwin": "macOS", "win32": "Windows"}.get(self.platform, self.platform)
        return (
            f"holdfast {self.verb} runs on Linux only and this is {name}: nothing was done; "
            f"here work {', '.join(sorted(EVERYWHERE))} and the client library"
        )


def refuse_unsupported(platform: str, verb: str) -> None:
    """Raise unless `verb` works on `platform` (as `sys.platform` names it).
    Args: `verb`, the first word after `holdfast`; empty for `holdfast --help` and the like.
    Raises: PlatformUnsupported.
    """
    if platform.startswith("linux") or not verb or verb in EVERYWHERE:
        return
    raise PlatformUnsupported(platform, verb)
