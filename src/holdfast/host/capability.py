"""What the kernel lets this process do beyond its user's rights."""

from __future__ import annotations

import re
from pathlib import Path

CAP_NET_ADMIN = 12
"""Change packet filters. Numbers from include/uapi/linux/capability.h."""
CAP_SYS_RESOURCE = 24
"""Raise one's own hard limits."""


def holds_capability(bit: int, status_file: Path) -> bool:
    """Whether the process whose /proc/PID/status is given holds the capability now."""
    try:
        text = status_file.read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    effective = re.search(r"^CapEff:\s*([0-9a-fA-F]+)$", text, re.MULTILINE)
    return effective is not None and bool(int(effective.group(1), 16) >> bit & 1)
