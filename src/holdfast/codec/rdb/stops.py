"""What `Scanner.step` can stop at."""

from __future__ import annotations

NEED = 0
"""Bytes are lacking: feed more."""
HEADER = 1
SELECT = 2
RESIZE = 3
AUX = 4
FUNCTION = 5
MODULE_AUX = 6
"""A module's own data begins; VALUE_END follows."""
SLOT_INFO = 7
SLOT_IMPORT = 8
KEY = 9
"""A key's value begins; VALUE_END follows."""
VALUE_END = 10
END = 11
