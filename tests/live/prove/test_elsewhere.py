"""Caches that Holdfast did not start: servers of every engine, as somebody set them up, by their URL alone."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from tests.live.conftest import AT_HAND, Bench
from tests.live.plain import Plain, plain

from holdfast.engine.build import EngineBuild

pytestmark = pytest.mark.timeout(200)
SPEC = """\
format: 1
cache: {name: legacy}
memory: {maxmemory: 64mb, policy: allkeys-lru}
persistence: {rdb: {enabled: false}}
security: {tls: off}
services: {cart: {namespaces: [cart]}}
keyspace: {namespaces: {cart: {pattern: 'cart:{id}', ttl: 1h}}}
"""
WORD = "open-sesame-0123456789"
AS_DECLARED = ("--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru")


def engine() -> EngineBuild:
    return next(iter(AT_HAND.values()))


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


async def proved(bench: Bench, server: Plain, *words: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, verdicts by id, and what was said on stderr."""
    spec = bench.spec(SPEC)
    url = f"redis://127.0.0.1:{server.port}"
    done = await asyncio.to_thread(bench.run, "prove", str(spec), "--json", "--url", url, *words)
    facts = done.facts if done.out else {"findings": []}
    return done.code, {each["id"]: each["verdict"] for each in facts["findings"]}, done.err


def test_a_server_that_lets_everybody_in(bench: Bench) -> None:
    async def work() -> None:
        async with plain(engine()) as (server,):
            code, verdicts, _ = await proved(bench, server)
            assert code == 4
            assert verdicts["security.authentication"]["outcome"] == "not kept"
            assert "no password in" in verdicts["security.authentication"]["why"]
            assert verdicts["durability.config"]["outcome"] == "not kept"
            assert "maxmemory 0 instead of" in verdicts["durability.config"]["why"]
            assert verdicts["connectivity.services"]["outcome"] == "kept"
            assert await server.ask("DBSIZE") == 0

    run(work())


@pytest.mark.long
def test_a_server_with_a_password_and_its_file(bench: Bench) -> None:
    async def work() -> None:
        async with plain(engine(), *AS_DECLARED) as (server,):
            await server.ask("CONFIG", "SET", "requirepass", WORD)
            code, _, said = await proved(bench, server)
            assert code == 1
            assert "--password-file" in said
            assert "HELLO" not in said
            file = bench.folder / "word"
            file.write_text("wrong")
            code, _, said = await proved(bench, server, "--password-file", str(file))
            assert code == 1
            assert "with the password given" in said
            file.write_text(WORD)
            code, verdicts, _ = await proved(bench, server, "--password-file", str(file))
            assert code == 0
            for check in (
                "connectivity.services", "connectivity.topology", "security.authentication", "durability.config",
            ):  # fmt: skip
                assert verdicts[check]["outcome"] == "kept", verdicts[check]
            assert "all as user default" in verdicts["connectivity.services"]["measured"]

    run(work())


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(AT_HAND))
def test_every_engine_by_its_url(bench: Bench, name: str) -> None:
    """Also one whose operators have taken CONFIG away, as managed services do."""

    async def work() -> None:
        async with plain(AT_HAND[name], *AS_DECLARED) as (server,):
            code, verdicts, said = await proved(bench, server)
            assert code == 4, said
            broken = {check for check, verdict in verdicts.items() if verdict["outcome"] == "not kept"}
            assert broken == {"security.authentication"}, verdicts
            assert "check failed" not in {verdict["outcome"] for verdict in verdicts.values()}
            await server.ask("ACL", "SETUSER", "default", "-config")
            _, verdicts, _ = await proved(bench, server)
            assert verdicts["durability.config"]["outcome"] == "not provable here"
            assert "may read CONFIG" in verdicts["durability.config"]["why"]

    run(work())
