"""One engine build on this machine: what it is, how it is started, what it can do (pure values)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

EngineName = Literal["valkey", "redis"]
Source = Literal["spec path", "HOLDFAST_ENGINES", "PATH", "engine folder", "wheel"]

VALKEY_DIALECTS_FROM = 80
"""RDB versions from here on carry the VALKEY magic; below, the REDIS one (see `rdb_magic`)."""

_WHERE: Mapping[Source, str] = {
    "spec path": "named by the spec",
    "HOLDFAST_ENGINES": "from HOLDFAST_ENGINES",
    "PATH": "on PATH",
    "engine folder": "fetched",
    "wheel": "bundled wheel",
}


@dataclass(frozen=True)
class EngineBuild:
    """One server program that was started, asked and found working.

    Everything but `key`, `command` and `source` is the engine's own answer, not a guess from a file name.
    """

    key: str
    """Stable and unique on a machine, safe in a file name: "valkey-9.1.2@wheel"."""
    name: EngineName
    version: tuple[int, int, int]
    command: tuple[str, ...]
    """Start of the argument list: (binary,) or (loader, "--library-path", folders, binary)."""
    source: Source
    tls: bool
    """A TLS handshake with this build succeeded."""
    rdb_version: int
    """The RDB dialect that SAVE writes: 9 to 14 under the REDIS magic, 80 and up under VALKEY."""
    sentinel: bool
    commands: frozenset[str]
    """Upper case; subcommands as "CLUSTER|MIGRATESLOTS" where the engine lists them (7.0 and later)."""
    config_names: frozenset[str]
    """Directives this build knows, lower case, aliases included, as CONFIG GET * lists them."""

    @property
    def binary(self) -> str:
        """Path of the server program itself, without a loader before it."""
        return self.command[-1]

    @property
    def version_text(self) -> str:
        return ".".join(str(part) for part in self.version)

    @property
    def series(self) -> str:
        """As `holdfast engines add` names it: "valkey-9.1"."""
        return f"{self.name}-{self.version[0]}.{self.version[1]}"

    @property
    def title(self) -> str:
        """For people: "Valkey 9.1.2 (bundled wheel)"."""
        return f"{self.name.capitalize()} {self.version_text} ({_WHERE[self.source]})"

    @property
    def rdb_magic(self) -> str:
        """The first nine characters of its snapshots: "REDIS0011", "VALKEY080"."""
        if self.rdb_version >= VALKEY_DIALECTS_FROM:
            return f"VALKEY{self.rdb_version:03d}"
        return f"REDIS{self.rdb_version:04d}"

    def knows_command(self, name: str) -> bool:
        """Whether the build lists `name` ("CLUSTER|MIGRATESLOTS", any case).

        Engines before 7.0 list no subcommands at all: there, no answer about one means nothing.
        """
        return name.upper() in self.commands

    def knows_directive(self, name: str) -> bool:
        return name.lower() in self.config_names

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; `from_json` takes them back."""
        return {
            "key": self.key,
            "name": self.name,
            "version": self.version_text,
            "command": list(self.command),
            "source": self.source,
            "tls": self.tls,
            "rdb_version": self.rdb_version,
            "sentinel": self.sentinel,
            "commands": sorted(self.commands),
            "config_names": sorted(self.config_names),
        }

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Self:
        """Take back what `to_json` wrote.

        Raises: KeyError, TypeError or ValueError when `facts` is something else.
        """
        if facts["name"] not in ("valkey", "redis") or facts["source"] not in _WHERE:
            raise ValueError("not the facts of an engine build")
        return cls(
            key=str(facts["key"]),
            name=facts["name"],
            version=parse_version(facts["version"]),
            command=tuple(str(part) for part in facts["command"]),
            source=facts["source"],
            tls=bool(facts["tls"]),
            rdb_version=int(facts["rdb_version"]),
            sentinel=bool(facts["sentinel"]),
            commands=frozenset(facts["commands"]),
            config_names=frozenset(facts["config_names"]),
        )


@dataclass(frozen=True)
class BrokenEngine:
    """A program that was found where engines are looked for, and did not work as one."""

    path: str
    source: Source
    words: str
    """Why, in the program's or the system's own words."""

    def to_json(self) -> dict[str, str]:
        return {"path": self.path, "source": self.source, "words": self.words}


def parse_version(text: str) -> tuple[int, int, int]:
    """Read a version such as 8.0.1 as (8, 0, 1); missing parts are 0.

    Raises: ValueError when it is not one to three numbers joined by dots.
    """
    parts = [int(part) for part in text.split(".")]
    if not 1 <= len(parts) <= 3:
        raise ValueError(f"not a version: {text!r}")
    major, minor, patch = (*parts, 0, 0)[:3]
    return major, minor, patch
