"""An engine's reply as text for people and as JSON."""

from __future__ import annotations

import math
from typing import Any


def reply_text(reply: Any, indent: str = "") -> str:
    """The reply as lines: nested lists numbered and indented; bytes that are no text as \\xNN."""
    if reply is None:
        return "(nil)"
    if isinstance(reply, bool):
        return "true" if reply else "false"
    if isinstance(reply, dict):
        pairs = [f"{reply_text(name)}: {reply_text(value, indent + '   ')}" for name, value in reply.items()]
        return f"\n{indent}".join(pairs) if pairs else "(empty)"
    if isinstance(reply, list | set | tuple):
        rows = [f"{place}) {reply_text(each, indent + '   ')}" for place, each in enumerate(reply, start=1)]
        return f"\n{indent}".join(rows) if rows else "(empty)"
    return _readable(str(reply))


def reply_facts(reply: Any) -> Any:
    """The reply as JSON types."""
    if isinstance(reply, dict):
        return {str(reply_facts(name)): reply_facts(value) for name, value in reply.items()}
    if isinstance(reply, list | set | tuple):
        return [reply_facts(each) for each in reply]
    if isinstance(reply, float) and not math.isfinite(reply):
        return str(reply)
    return _readable(reply) if isinstance(reply, str) else reply


def _readable(text: str) -> str:
    """Bytes that were no text (kept as lone surrogates), and what would move a terminal's cursor, as \\xNN."""
    return "".join(
        f"\\x{ord(letter) & 0xFF:02x}"
        if 0xDC80 <= ord(letter) <= 0xDCFF
        or (ord(letter) < 32 and letter not in "\n\t\r")
        or ord(letter) == 127
        else letter
        for letter in text
    )
