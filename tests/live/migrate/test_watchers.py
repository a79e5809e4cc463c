"""Sentinels that watch a server are found when the server itself was named; or it is said that they are not known."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from tests.live.conftest import need
from tests.live.migrate.journey import benched
from tests.live.migrate.plain import plain
from tests.live.migrate.shapes import WATCHED, Made, an_end
from tests.live.ports import LOOPBACK

from holdfast.engine.connection import Credentials
from holdfast.migrate.ends import End, Layout
from holdfast.migrate.observe import recognise

FORGED = f"{LOOPBACK},1,{'5' * 40},0,another,{LOOPBACK},1,0"
"""Of a primary that the Sentinels do not watch: they themselves would believe all else."""


def sentinels(made: Made) -> list[tuple[str, int]]:
    return sorted((LOOPBACK, each.port) for each in made.watchers)


@pytest.mark.long
@pytest.mark.timeout(120)
@pytest.mark.parametrize("engine", ["redis-6.2", "redis-8.0", "valkey-9.1"])
async def test_sentinels_are_found_from_the_primary_and_from_its_replica(engine: str) -> None:
    with an_end("sentinel", need(engine), password="one-word") as made:
        assert made.replica is not None
        client, stop = made.primary.client, threading.Event()

        def forge() -> None:
            while not stop.wait(0.05):
                client.publish("__sentinel__:hello", FORGED)

        forging = threading.Thread(target=forge)
        forging.start()
        try:
            for server in (made.primary, made.replica):
                named = End(
                    "it",
                    Layout.REPLICATED,
                    ((LOOPBACK, server.port),),
                    Credentials("default", "one-word"),
                )
                found = await recognise(named)
                assert (found.layout, found.watched_name) == (Layout.SENTINEL, WATCHED)
                assert sorted(found.sentinels) == sentinels(made)
                assert found.servers[0] == (LOOPBACK, server.port)
                assert set(found.servers) == {(LOOPBACK, each.port) for each in (made.primary, made.replica)}
        finally:
            stop.set()
            forging.join(10)


@pytest.mark.long
@pytest.mark.timeout(120)
async def test_sentinels_without_a_password_are_asked_without_one() -> None:
    with an_end("sentinel", need("valkey-8.1"), password="one-word", of_watchers="") as made:
        for port in (made.primary.port, made.watchers[0].port):
            named = End("it", Layout.REPLICATED, ((LOOPBACK, port),), Credentials("default", "one-word"))
            found = await recognise(named)
            assert sorted(found.sentinels) == sentinels(made)


async def test_a_server_that_nobody_watches_is_known_at_once() -> None:
    with plain(need("valkey-9.1")) as server:
        began = time.monotonic()
        found = await recognise(End("it", Layout.REPLICATED, ((LOOPBACK, server.port),)))
        assert (found.layout, found.sentinels) == (Layout.REPLICATED, ())
        assert time.monotonic() - began < 2


@pytest.mark.long
@pytest.mark.timeout(120)
def test_sentinels_that_our_user_may_not_hear_stop_a_relay_and_are_told_of_to_a_writer(
    tmp_path: Path,
) -> None:
    with (
        benched() as bench,
        an_end("sentinel", need("valkey-9.1")) as source,
        plain(need("valkey-9.1")) as target,
    ):
        source.primary.client.execute_command(
            "ACL", "SETUSER", "deaf", "on", ">word", "~*", "+@all", "-subscribe"
        )
        (tmp_path / "login").write_text("deaf\nword\n")
        ends = ("--from", source.primary.url, "--from-auth-file", str(tmp_path / "login"), "--to", target.url)
        said = bench.run("migrate", "assess", *ends)
        assert said.code == 1
        assert "source-sentinels" in said.out
        assert "Name one of them" in said.out
        assert "source-sentinels" in bench.run("migrate", "assess", *ends, "--mode", "write", check=True).out
