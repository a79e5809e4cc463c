"""`holdfast migrate --mode write` as an operator uses it."""

from __future__ import annotations

from pathlib import Path

from tests.live.conftest import Bench, need, until
from tests.live.migrate.ledger import Writers, account
from tests.live.plain import plain, plain_cluster, send


async def test_a_redis_8_with_field_ttls_into_a_cluster_by_the_verbs(bench: Bench, tmp_path: Path) -> None:
    async with plain(need("redis-8.0")) as (source,), plain_cluster(need("valkey-9.1"), 3) as target:
        async with source.link() as pipe:
            await send(pipe, *(("HSET", f"h{number}", "f", number) for number in range(200)))
            await send(pipe, ("HPEXPIREAT", "h1", 4_000_000_000_000, "FIELDS", 1, "f"))
        ends = (
            "--from",
            f"redis://127.0.0.1:{source.port}",
            "--to",
            f"redis://127.0.0.1:{target.primaries[0].port}",
        )
        try:
            bench.run(
                "migrate", "start", "cart", *ends, "--mode", "write", "--accept", "source-no-file", check=True
            )
            writers = Writers([source.endpoint], tasks=2, pause_s=0.01)
            await writers.start()
            refused = bench.run("migrate", "rollback", "cart")
            assert refused.code == 1
            assert "nothing to go back from" in refused.err
            await writers.stop()
            until(
                lambda: bench.run("migrate", "status", "cart", "--json").facts["progress"]["lag_bytes"] == 0,
                30,
                0.3,
            )
            verified = bench.run("migrate", "verify", "cart", "--added-ms", "10000", "--json", check=True)
            assert verified.facts["different"] == 0
            assert verified.facts["keys"] > 200
            assert await account(writers.ledger, target.endpoints) == []
            bench.run("migrate", "stop", "cart", "--yes", check=True)
        finally:  # the job is a process of its own
            bench.run("migrate", "stop", "cart", "--yes")
        left = [key for server in target.primaries for key in await server.ask("KEYS", "holdfast:*")]
        assert left == []
        for server in target.primaries:
            assert await server.ask("CONFIG", "GET", "import-mode") == [b"import-mode", b"no"]
