"""The note in each fetched engine's folder: what was fetched, how it was verified, how it is started."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from holdfast.engine.recipes import RECIPES

RECEIPT_FILE = "receipt.json"
RECEIPT_FORMAT = 1


@dataclass(frozen=True)
class Package:
    """One file that was unpacked: a wheel or a .deb."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True)
class Receipt:
    """What stands in one engine's folder."""

    name: str
    """The recipe's: "valkey-8.0"."""
    command: tuple[str, ...]
    """With absolute paths; the file holds them relative to its folder, so that a state folder can move."""
    verified: str
    """How, and by which keyring or hash, for people."""
    packages: tuple[Package, ...]
    fetched_at: str
    """UTC, ISO 8601."""


def receipt_text(receipt: Receipt, home: Path) -> str:
    """The file's content; `home` is the folder that `command` points into."""
    facts = {
        "format": RECEIPT_FORMAT,
        "name": receipt.name,
        "command": [_relative(part, home) for part in receipt.command],
        "verified": receipt.verified,
        "fetched_at": receipt.fetched_at,
        "packages": [vars(package) for package in receipt.packages],
    }
    return json.dumps(facts, indent=2) + "\n"


def read_receipts(folder: Path) -> tuple[Receipt, ...]:
    """The receipts of the engines in `folder`, in the order of the recipes; what is no engine is passed over."""
    found = (read_receipt(folder / name) for name in RECIPES)
    return tuple(receipt for receipt in found if receipt is not None)


def read_receipt(home: Path) -> Receipt | None:
    """The receipt in one engine's folder, or None where there is none that can be read."""
    try:
        facts = json.loads((home / RECEIPT_FILE).read_text("utf-8"))
        if facts["format"] != RECEIPT_FORMAT or facts["name"] != home.name:
            return None
        return _receipt(facts, home)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _receipt(facts: Mapping[str, Any], home: Path) -> Receipt:
    return Receipt(
        name=str(facts["name"]),
        command=tuple(_absolute(str(part), home) for part in facts["command"]),
        verified=str(facts["verified"]),
        fetched_at=str(facts["fetched_at"]),
        packages=tuple(
            Package(str(item["name"]), str(item["version"]), str(item["sha256"]))
            for item in facts["packages"]
        ),
    )


def _relative(part: str, home: Path) -> str:
    """A path under `home` (or several joined with ":") as "./…"; anything else as it is."""
    pieces = part.split(":")
    if not all(Path(piece).is_relative_to(home) for piece in pieces):
        return part
    return ":".join(f"./{Path(piece).relative_to(home).as_posix()}" for piece in pieces)


def _absolute(part: str, home: Path) -> str:
    pieces = part.split(":")
    if not all(piece.startswith("./") for piece in pieces):
        return part
    if any(".." in PurePosixPath(piece).parts for piece in pieces):
        raise ValueError("a receipt's command leaves its folder")
    return ":".join(str(home / piece) for piece in pieces)
