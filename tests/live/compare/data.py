"""One data set with every type, in small and large forms, and one way to spoil each."""

from __future__ import annotations

from holdfast.engine.pipeline import Word

Command = tuple[Word, ...]
FAR_MS = 4_000_000_000_000


def every_type(prefix: str, *, big: int = 2_000) -> list[Command]:
    """Keys of all types, in the form for few entries and in that for `big` of them; in an order that `prefix` changes, so
    that two servers do not build the same tables.
    """
    numbers = range(big) if len(prefix) % 2 else range(big - 1, -1, -1)
    return [
        ("SET", "string", "value"),
        ("SET", "number", 12345),
        ("SET", "long", "abc" * 5000),
        ("SET", "ends", "soon", "PX", 3_600_000),
        ("PEXPIREAT", "ends", FAR_MS),
        ("SETBIT", "bits", 70_000, 1),
        ("PFADD", "loglog", *range(500)),
        ("RPUSH", "list", "a", "b", 3),
        ("RPUSH", "list-long", *range(big)),
        ("SADD", "set-of-numbers", 3, 1, 2),
        ("SADD", "set", "x", "y", 1),
        ("SADD", "set-long", *(f"m{number}" for number in numbers)),
        ("ZADD", "zset", "1.5", "a", "-inf", "b", "1e300", "c"),
        ("ZADD", "zset-long", *(word for number in numbers for word in (str(number / 7), f"m{number}"))),
        ("HSET", "hash", "f", "v", "n", 5),
        ("HSET", "hash-long", *(word for number in numbers for word in (f"f{number}", f"v{number}"))),
        ("GEOADD", "geo", "13.4", "52.5", "berlin"),
        *(("XADD", "stream", f"{number}-1", "f", number) for number in range(1, 300)),
        ("XGROUP", "CREATE", "stream", "g1", "0"),
        ("XGROUP", "CREATE", "stream", "g2", "$"),
        ("XADD", "stream-2", "5-5", "f", "v"),
        ("XGROUP", "CREATE", "stream-2", "g", "0"),
        (
            "XCLAIM",
            "stream-2",
            "g",
            "c1",
            0,
            "5-5",
            "TIME",
            1_700_000_000_000,
            "RETRYCOUNT",
            3,
            "FORCE",
            "JUSTID",
        ),
        ("SET", b"bin\x00\xff\r\n", b"\x00\xff"),
        ("SET", "", "the empty key"),
    ]


SPOILT: dict[str, tuple[list[Command], str]] = {
    "string": ([("SET", "string", "valuf")], "value"),
    "number": ([("INCR", "number")], "value"),
    "long": ([("SETRANGE", "long", 9000, "X")], "value"),
    "ends": ([("PEXPIREAT", "ends", FAR_MS + 60_000)], "ttl"),
    "bits": ([("PERSIST", "bits"), ("PEXPIREAT", "bits", FAR_MS)], "ttl"),
    "list": ([("LSET", "list", 0, "z")], "value"),
    "list-long": ([("LSET", "list-long", 1000, "z")], "value"),
    "set": ([("SREM", "set", "x"), ("SADD", "set", "X")], "value"),
    "set-long": ([("SREM", "set-long", "m7"), ("SADD", "set-long", "M7")], "value"),
    "zset": ([("ZADD", "zset", "1.25", "a")], "value"),
    "zset-long": ([("ZADD", "zset-long", "0.001", "m77")], "value"),
    "hash": ([("HSET", "hash", "n", 6)], "value"),
    "hash-long": ([("HSET", "hash-long", "f99", "V99")], "value"),
    "stream": ([("XGROUP", "SETID", "stream", "g1", "7-1")], "groups"),
    "stream-2": ([("XACK", "stream-2", "g", "5-5")], "groups"),
    "geo": ([("DEL", "geo")], "missing"),
    "more": ([("SET", "more", 1)], "extra"),
    "loglog": ([("DEL", "loglog"), ("SADD", "loglog", "a")], "type"),
}
"""Key -> commands that make it differ on the second side, and the kind that a comparison has to tell."""
