"""What happened to caches on this machine: one JSON line for each event, appended, never changed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FILE = "events.jsonl"
KEEP_BYTES = 8 << 20
"""Beyond this the file is set aside once as events.jsonl.1."""


class Events:
    """The machine's event file."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def add(self, kind: str, cache: str, node: str, facts: Mapping[str, Any]) -> None:
        """Append one event. Raises nothing: an event that cannot be written must not hold up a failover."""
        line = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "kind": kind,
            "cache": cache,
            "node": node,
        }
        try:
            if self._path.exists() and self._path.stat().st_size > KEEP_BYTES:
                self._path.replace(self._path.with_name(FILE + ".1"))
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(handle, (json.dumps(line | dict(facts), default=str) + "\n").encode())
            finally:
                os.close(handle)
        except OSError:
            return

    def read(self, cache: str, last: int) -> list[dict[str, Any]]:
        """The last events of a cache, oldest first."""
        found = [event for event in self._all() if event.get("cache") == cache]
        return found[-last:] if last > 0 else []

    def _all(self) -> Iterator[dict[str, Any]]:
        for path in (self._path.with_name(FILE + ".1"), self._path):
            if not path.exists():
                continue
            for line in path.read_text(errors="replace").splitlines():
                try:
                    event = json.loads(line)
                except ValueError:
                    continue  # a line cut off by a full disk
                if isinstance(event, dict):
                    yield event
