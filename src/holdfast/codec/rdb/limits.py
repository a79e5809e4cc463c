"""What a length may claim before it is believed; memory is taken for none of these until the bytes have come."""

from __future__ import annotations

STRING_BYTES = 4 << 30
"""One string. The engines' own default bound (proto-max-bulk-len) is 512 MiB."""
ELEMENTS = 1 << 40
"""Elements of one value, where it is not known how many bytes are left; otherwise each needs a byte of these."""
WHOLE_BYTES = 512 << 20
"""What must lie in memory whole: a key's name, an AUX field, a function library."""
META_BYTES = 1 << 20
"""What modules noted on one key (opcode 243 of Redis 8.6)."""
EXPANSION = 132
"""LZF makes at most 88 bytes of one; a claim of more than this is false."""
DATABASE = (1 << 31) - 1
"""The highest number of a database."""
