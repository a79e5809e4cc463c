"""The numbers of the RDB format: what stands before a value (its type) and what stands instead of one (an opcode)."""

from __future__ import annotations

STRING = 0
LIST = 1
SET = 2
ZSET = 3
HASH = 4
ZSET_2 = 5
MODULE_PRE_GA = 6
MODULE = 7
HASH_ZIPMAP = 9
LIST_ZIPLIST = 10
SET_INTSET = 11
ZSET_ZIPLIST = 12
HASH_ZIPLIST = 13
LIST_QUICKLIST = 14
STREAM = 15
HASH_LISTPACK = 16
ZSET_LISTPACK = 17
LIST_QUICKLIST_2 = 18
STREAM_2 = 19
SET_LISTPACK = 20
STREAM_3 = 21
HASH_TTL_RC = 22
"""Redis 7.4 release candidates; the same number as VALKEY_HASH_TTL."""
VALKEY_HASH_TTL = 22
"""Valkey 9; the same number as HASH_TTL_RC, so a type below 24 says little without its dialect."""
HASH_LISTPACK_TTL_RC = 23
HASH_TTL = 24
HASH_LISTPACK_TTL = 25
STREAM_4 = 26
STREAM_5 = 27
ARRAY = 28

EOF = 255
SELECTDB = 254
EXPIRETIME_S = 253
EXPIRETIME_MS = 252
RESIZEDB = 251
AUX = 250
FREQ = 249
IDLE = 248
MODULE_AUX = 247
FUNCTION_PRE_GA = 246
FUNCTION = 245
SLOT_INFO = 244
KEY_META = 243
"""Redis 8.6; the same number as SLOT_IMPORT."""
SLOT_IMPORT = 243
"""Valkey 9; the same number as KEY_META."""

KIND_OF = {
    **dict.fromkeys((STRING,), "string"),
    **dict.fromkeys((LIST, LIST_ZIPLIST, LIST_QUICKLIST, LIST_QUICKLIST_2), "list"),
    **dict.fromkeys((SET, SET_INTSET, SET_LISTPACK), "set"),
    **dict.fromkeys((ZSET, ZSET_2, ZSET_ZIPLIST, ZSET_LISTPACK), "zset"),
    **dict.fromkeys(
        (
            HASH,
            HASH_ZIPMAP,
            HASH_ZIPLIST,
            HASH_LISTPACK,
            HASH_TTL_RC,
            HASH_LISTPACK_TTL_RC,
            HASH_TTL,
            HASH_LISTPACK_TTL,
        ),
        "hash",
    ),
    **dict.fromkeys((STREAM, STREAM_2, STREAM_3, STREAM_4, STREAM_5), "stream"),
    MODULE: "module",
    ARRAY: "array",
}
"""Type number -> what the server's TYPE command calls such a key ("module" for a module's own type)."""

NAME_OF = {
    STRING: "string",
    LIST: "list",
    SET: "set",
    ZSET: "zset with text scores",
    HASH: "hash",
    ZSET_2: "zset",
    MODULE: "module value",
    HASH_ZIPMAP: "hash as zipmap",
    LIST_ZIPLIST: "list as ziplist",
    SET_INTSET: "set as intset",
    ZSET_ZIPLIST: "zset as ziplist",
    HASH_ZIPLIST: "hash as ziplist",
    LIST_QUICKLIST: "list as quicklist of ziplists",
    STREAM: "stream",
    HASH_LISTPACK: "hash as listpack",
    ZSET_LISTPACK: "zset as listpack",
    LIST_QUICKLIST_2: "list as quicklist of listpacks",
    STREAM_2: "stream with entries-read",
    SET_LISTPACK: "set as listpack",
    STREAM_3: "stream with active-time",
    HASH_TTL_RC: "hash with field TTLs",
    HASH_LISTPACK_TTL_RC: "hash with field TTLs as listpack",
    HASH_TTL: "hash with field TTLs",
    HASH_LISTPACK_TTL: "hash with field TTLs as listpack",
    STREAM_4: "stream with producers",
    STREAM_5: "stream with producers and ownerless entries",
    ARRAY: "array",
}
"""Type number -> a name for people."""
