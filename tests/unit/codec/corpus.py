"""The RDB files of real engines, and what a client read from those engines."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "data" / "rdb"
NAMES = sorted(file.stem for file in FOLDER.glob("*.rdb"))
CAPTURES = sorted(file.stem for file in FOLDER.glob("*.psync"))


def rdb(name: str) -> bytes:
    """The file `name`.rdb."""
    return (FOLDER / f"{name}.rdb").read_bytes()


def told(name: str) -> Any:
    """What a client read before `name`.rdb was written."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def keys_told(name: str) -> dict[tuple[int, bytes], Any]:
    """(db, key) -> what a client read of it."""
    return {
        (int(db), base64.b64decode(entry["key_b64"]) if "key_b64" in entry else entry["key"].encode()): entry
        for db, entries in told(name)["dbs"].items()
        for entry in entries
    }


def same_bytes(mine: bytes, theirs: Any) -> bool:
    """Whether `mine` is the string that the JSON gives as text, Base64 or a digest."""
    if isinstance(theirs, str):
        return mine == theirs.encode()
    if "b64" in theirs:
        return mine == base64.b64decode(theirs["b64"])
    return bool(len(mine) == theirs["len"] and hashlib.sha256(mine).hexdigest() == theirs["sha256"])


def capture(name: str) -> tuple[Any, bytes]:
    """What is known of `name`.psync, and its bytes."""
    return json.loads((FOLDER / f"{name}.psync.json").read_text()), (FOLDER / f"{name}.psync").read_bytes()
