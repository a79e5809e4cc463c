"""How each type's value is built, as a table of one-line shapes, and the small programs the scanner runs for them.

A shape is read from left to right:
  s  a string (length and bytes, an integer in its short form, or LZF)
  n  a length used as a number
  8  eight raw bytes        x  sixteen raw bytes
  f  a score as text        m  a module's opcodes up to their end mark
  [ ... ]  a length, then that many times what is inside
  c ... { ... }  the same, with the length apart from the loop
  ?  a number, followed by one more number when it is not 0
  i  a tagged item of an array
"""

from __future__ import annotations

from holdfast.codec.rdb import types

_CONSUMERS_2 = "[s8[x]]"
_CONSUMERS_3 = "[s88[x]]"
_PENDING = "[x8n]"
_IDMP = "nn[s[snn]]nn"

SHAPES: dict[int, str] = {
    types.STRING: "s",
    types.LIST: "[s]",
    types.SET: "[s]",
    types.ZSET: "[sf]",
    types.HASH: "[ss]",
    types.ZSET_2: "[s8]",
    types.MODULE: "nm",
    types.HASH_ZIPMAP: "s",
    types.LIST_ZIPLIST: "s",
    types.SET_INTSET: "s",
    types.ZSET_ZIPLIST: "s",
    types.HASH_ZIPLIST: "s",
    types.LIST_QUICKLIST: "[s]",
    types.STREAM: f"[ss]nnn[snn{_PENDING}{_CONSUMERS_2}]",
    types.HASH_LISTPACK: "s",
    types.ZSET_LISTPACK: "s",
    types.LIST_QUICKLIST_2: "[ns]",
    types.STREAM_2: f"[ss]nnnnnnnn[snnn{_PENDING}{_CONSUMERS_2}]",
    types.SET_LISTPACK: "s",
    types.STREAM_3: f"[ss]nnnnnnnn[snnn{_PENDING}{_CONSUMERS_3}]",
    types.HASH_TTL_RC: "[nss]",
    types.HASH_LISTPACK_TTL_RC: "s",
    types.HASH_TTL: "8[nss]",
    types.HASH_LISTPACK_TTL: "8s",
    types.STREAM_4: f"[ss]nnnnnnnn[snnn{_PENDING}{_CONSUMERS_3}]{_IDMP}",
    types.STREAM_5: f"[ss]nnnnnnnn[snnn{_PENDING}{_CONSUMERS_3}[x]]{_IDMP}",
    types.ARRAY: "c?{ni}",
}
"""Type -> shape, as Redis means the number."""

VALKEY_SHAPES: dict[int, str] = {types.VALKEY_HASH_TTL: "[ss8]"}
"""The same where Valkey 9 means another thing."""

# Stands where a type would: what follows the opcode of a module's own data, and of a key's metadata.
MODULE_AUX_SHAPE = "nnnm"
KEY_META_SHAPE = "[rm]"

DONE, STRING, NUMBER, RAW, LOOP, END, SCORE, MODULE, COUNT, COUNTED, MAYBE, ITEM = range(12)
"""What the scanner's programs are made of. RAW is followed by a number of bytes, LOOP and COUNTED by where to go on when
the count is 0."""

_PLAIN = {"s": STRING, "n": NUMBER, "f": SCORE, "m": MODULE, "c": COUNT, "?": MAYBE, "i": ITEM}
_RAW = {"8": 8, "x": 16, "r": 4}
CODE_SIZE = 1024
MODULE_AUX_ENTRY = 256
KEY_META_ENTRY = 257
VALKEY_ENTRIES = 258
"""Where the entries begin that Valkey's numbers use, by type."""
NO_ENTRY = 0xFFFF


def assemble(shape: str, code: list[int]) -> int:
    """Append the program of `shape` to `code`; returns where it begins."""
    entry = len(code)
    opened: list[int] = []
    for letter in shape:
        if letter in _RAW:
            code += [RAW, _RAW[letter]]
        elif letter in "[{":
            code += [LOOP if letter == "[" else COUNTED, 0]
            opened.append(len(code) - 1)
        elif letter in "]}":
            code.append(END)
            code[opened.pop()] = len(code)
        else:
            code.append(_PLAIN[letter])
    code.append(DONE)
    return entry


def programs() -> tuple[list[int], list[int]]:
    """All programs one after another, padded to CODE_SIZE, and where each begins: by type as Redis means it, then
    MODULE_AUX_ENTRY, KEY_META_ENTRY, and from VALKEY_ENTRIES by type as Valkey 9 means it. NO_ENTRY is an unknown type.
    """
    code: list[int] = []
    entries = [NO_ENTRY] * (VALKEY_ENTRIES + 256)
    for number, shape in SHAPES.items():
        entries[number] = entries[VALKEY_ENTRIES + number] = assemble(shape, code)
    for number in range(types.HASH_TTL_RC, 256):
        entries[VALKEY_ENTRIES + number] = NO_ENTRY
    for number, shape in VALKEY_SHAPES.items():
        entries[VALKEY_ENTRIES + number] = assemble(shape, code)
    entries[MODULE_AUX_ENTRY] = assemble(MODULE_AUX_SHAPE, code)
    entries[KEY_META_ENTRY] = assemble(KEY_META_SHAPE, code)
    code += [DONE] * (CODE_SIZE - len(code))
    return code, entries
