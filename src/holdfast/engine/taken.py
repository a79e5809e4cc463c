"""What taking an engine out of a wheel or out of packages gives (pure)."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.engine.receipt import Package


@dataclass(frozen=True)
class Taken:
    """An engine put into a folder, not tried yet."""

    command: tuple[str, ...]
    verified: str
    packages: tuple[Package, ...]
