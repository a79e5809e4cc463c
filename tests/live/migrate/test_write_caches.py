"""Mode `write` between caches that Holdfast runs itself: watched by Sentinels or clusters, named by their files or by name."""

from __future__ import annotations

from functools import partial

import pytest
from tests.live.conftest import Bench, need, until
from tests.live.migrate.journey import benched, in_step

WAY = (("cutover", "new", "old"), ("rollback", "old", "new"), ("cutover", "new", "old"))
"""Verb, who is primary then, and who follows."""


def spec_of(name: str, version: str, mode: str) -> str:
    topology = {
        "sentinel": "  mode: sentinel\n  replicas: 1\n",
        "cluster": "  mode: cluster\n  shards: 3\n",
        "standalone": "  mode: standalone\n",
    }[mode]
    return (
        f"format: 1\ncache:\n  name: {name}\nengine:\n  name: valkey\n  version: '{version}'\n"
        f"topology:\n{topology}security:\n  tls:\n    mode: off\n"
        "keyspace:\n  namespaces:\n    carts: {pattern: 'cart:{number}', ttl: 1h, owner: shop}\n"
        "services:\n  shop:\n    namespaces: [carts]\n"
    )


def holds(bench: Bench, cache: str, key: str) -> str:
    return bench.run("call", cache, "GET", key).out.strip()


def has(bench: Bench, cache: str, value: str) -> bool:
    return holds(bench, cache, "cart:2").strip('"') == value


def may_write(bench: Bench, cache: str) -> bool:
    """By its server's own word."""
    told = bench.run("call", cache, "ACL", "DRYRUN", "shop", "SET", "cart:1", "v")
    return told.out.strip().strip('"') == "OK"


@pytest.mark.long
@pytest.mark.timeout(280)
@pytest.mark.parametrize(
    ("here", "there"),
    [(("8.1", "sentinel"), ("9.1", "cluster")), (("9.1", "cluster"), ("8.1", "sentinel"))],
    ids=["sentinel-to-cluster", "cluster-to-sentinel"],
)
def test_the_whole_way_between_two_caches_of_ours(here: tuple[str, str], there: tuple[str, str]) -> None:
    for version in ("8.1", "9.1"):
        need(f"valkey-{version}")
    with benched() as bench:
        for name, (version, mode) in (("old", here), ("new", there)):
            file = bench.folder / f"{name}.yaml"
            file.write_text(spec_of(name, version, mode))
            bench.run("up", str(file), check=True)
        bench.run("call", "old", "SET", "cart:2", "first", check=True)
        ends = ("--from", "old", "--to", str(bench.folder / "new.yaml"), "--mode", "write")
        bench.run("migrate", "start", "m", *ends, check=True)
        in_step(bench)
        assert has(bench, "new", "first")
        assert bench.run("migrate", "verify", "m", "--json", check=True).facts["different"] == 0
        for verb, primary, follower in WAY:
            facts = bench.run("migrate", verb, "m", "--json", check=True).facts
            proofs = facts["switches"][-1]["proofs"]
            assert any("ACL DRYRUN" in each for each in proofs), proofs
            bench.run("call", primary, "SET", "cart:2", verb, check=True)
            in_step(bench)
            until(partial(has, bench, follower, verb), 20)
        assert not may_write(bench, "old")
        said = bench.run("up", str(bench.folder / "old.yaml"))
        assert said.code == 0 or "end of the migration m" in said.err, said.err
        assert not may_write(bench, "old")
        bench.run("migrate", "finish", "m", "--yes", check=True)
        assert may_write(bench, "new")
        assert not may_write(bench, "old")
        until(lambda: not bench.status("new")["problems"], 30)
        bench.run("up", str(bench.folder / "old.yaml"), check=True)
        assert may_write(bench, "old")
