"""`holdfast compare` as people and scripts see it."""

from __future__ import annotations

import json

from tests.live.conftest import Bench, need
from tests.live.plain import plain, send


async def test_two_servers_are_the_same_then_not(bench: Bench) -> None:
    async with plain(need("redis-7.0")) as (one,), plain(need("valkey-8.1")) as (other,):
        for server in (one, other):
            async with server.link() as pipe:
                await send(pipe, ("SET", "a", 1), ("SADD", "s", "x", "y", "z"), ("SET", "own:1", server.port))
        ends = [f"redis://127.0.0.1:{server.port}" for server in (one, other)]
        same = bench.run("compare", *ends, "--ignore", "own:", "--settle-s", "0.2", check=True)
        assert "2" in same.out
        await other.ask("SET", "a", 2)
        state = bench.folder / "compare.json"
        words = ("compare", *ends, "--ignore", "own:", "--settle-s", "0.2", "--state", str(state), "--json")
        apart = bench.run(*words)
        assert apart.code == 5
        assert [(each["key"], each["kind"], each["settled"]) for each in apart.facts["differences"]] == [
            ("a", "value", True)
        ]
        assert not state.exists(), "a comparison that came to its end has nothing to go on from"
        state.write_text(json.dumps({"format": 99}))
        refused = bench.run(*words)
        assert refused.code == 1
        assert "start it anew" in refused.err
        wrong = bench.run("compare", *ends, "--database", "one")
        assert wrong.code == 2
        assert "--database 1=0" in wrong.err
