"""Function libraries that the target's engine could not load do not reach it: they would end it."""

from __future__ import annotations

import pytest

from holdfast.codec.crc import crc64
from holdfast.codec.rdb.dialect import DIALECTS, dialect_named
from holdfast.codec.rdb.events import Function
from holdfast.codec.rdb.functions import can_load
from holdfast.codec.rdb.losses import Reason
from holdfast.codec.rdb.parser import events_of
from holdfast.codec.rdb.rewrite import Target, rewrite
from holdfast.codec.rdb.writer import Writer
from holdfast.migrate.relay.translation import translate_payload

COMMON = b"#!lua name=deep\nredis.register_function('f', function() return redis.call('PING') end)"
VALKEY = COMMON.replace(b"redis.", b"server.")


@pytest.mark.parametrize("name", [name for name in DIALECTS if DIALECTS[name].has_functions])
def test_what_each_engine_loads(name: str) -> None:
    dialect = dialect_named(name)
    assert can_load(COMMON, dialect)
    assert can_load(VALKEY, dialect) == (name.startswith("valkey") and name != "valkey-7.2")
    assert not can_load(COMMON.replace(b"lua", b"js"), dialect)
    assert not can_load(b"no library", dialect)


@pytest.mark.parametrize(
    "line",
    [
        b"-- as on the server.",
        b"--[[ server.call ]]",
        b"redis.log(1, 'server.log')",
        b'redis.log(1, "\\\\", "it\\"s server.log")',
        b"local s = [==[ server.call ]] ]==]",
        b"--[==[\nserver.call ]] ]==]",
        b"local t = {}; t.server.x = 1",
        b"local my_server = {}; my_server.x = 1",
    ],
)
def test_a_word_that_only_looks_like_it(line: bytes) -> None:
    assert can_load(COMMON + b"\n" + line, dialect_named("redis-8.0"))


@pytest.mark.parametrize(("to", "kept"), [("redis-8.0", [COMMON]), ("valkey-9.1", [COMMON, VALKEY])])
def test_in_a_file_the_foreign_one_is_left_out_and_named(to: str, kept: list[bytes]) -> None:
    writer = Writer(dialect_named("valkey-8.1"))
    for library in (COMMON, VALKEY):
        writer.function(library)
    writer.end()
    made, losses = rewrite(writer.take(), Target(dialect_named(to)))
    _, *rest = events_of(made)
    assert [event.source for event in rest if isinstance(event, Function)] == kept
    if len(kept) == 1:
        assert losses.by_reason[Reason.FUNCTION_FOREIGN].samples == [(0, b"#!lua name=deep")]
        assert losses.is_missing
    else:
        assert not losses


def test_a_payload_of_libraries_is_signed_anew_for_the_target() -> None:
    writer = Writer(dialect_named("redis-8.0"))
    writer.function(COMMON)
    body = writer.take()[9:]

    def signed(version: int) -> bytes:
        whole = body + version.to_bytes(2, "little")
        return whole + crc64(whole).to_bytes(8, "little")

    assert translate_payload(signed(12), dialect_named("valkey-8.1")) == (signed(11), "")
    assert translate_payload(signed(12), dialect_named("valkey-9.1")) == (signed(80), "")
    assert translate_payload(signed(12)[:-12], dialect_named("valkey-9.1")) is None


@pytest.mark.parametrize(
    "line", [b"local s = '--' server.log(1)", b"--[[ ]] server.call('PING')", b"f(server['call'])"]
)
def test_the_word_behind_what_is_no_code(line: bytes) -> None:
    assert not can_load(COMMON + b"\n" + line, dialect_named("redis-8.0"))


@pytest.mark.parametrize("unit", [b"--[[\n", b"[=[", b"'\\", b"--\n", b"server ", b"[" * 10])
def test_a_text_made_to_take_long_does_not(unit: bytes) -> None:
    can_load(COMMON + unit * 100_000, dialect_named("redis-8.0"))
