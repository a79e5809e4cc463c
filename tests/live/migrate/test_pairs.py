"""Every pair of engines at hand, by relay: there, verified, cut over, and back; with passwords and TLS; to and from caches of ours."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.live.conftest import AT_HAND, ROOT, Bench, need, until
from tests.live.engine.servers import make_tls
from tests.live.migrate.applications import Applications
from tests.live.migrate.journey import benched, in_step, status
from tests.live.migrate.old_engine import redis_5
from tests.live.migrate.plain import Plain, plain
from tests.live.migrate.shapes import DOWN_AFTER_MS, SHAPES, an_end
from tests.live.migrate.test_journey import fill

PAIRS = [pair for pair in itertools.product(sorted(AT_HAND), repeat=2) if pair[0] != pair[1]]
FIELD_TTLS = ("redis-8.0", "valkey-9.1")


def there_and_back(
    bench: Bench, source: Plain, target: Plain, more: Sequence[str] = (), *, to: str = "", start: str = ""
) -> None:
    """The whole way, with what the engines share in each data set. Args: `start`, `to`: other URLs of the two ends."""
    words = ("migrate", "start", "m", "--from", start or source.url, "--to", to or target.url, *more)
    bench.run(*words, check=True)
    in_step(bench)
    told = bench.run("migrate", "verify", "m", "--json", check=True).facts
    assert told["different"] == told["changing"] == 0
    with Applications([source, target], threads=1) as work:
        for verb in ("cutover", "rollback", "cutover"):
            until(lambda: work.count > 20, 20)
            bench.run("migrate", verb, "m", check=True)
            in_step(bench)
    work.settle(target.client)
    in_step(bench)
    until(lambda: source.client.dbsize() == target.client.dbsize(), 20)
    assert len(status(bench)["full_syncs"]) == 1
    assert not status(bench)["wrong"]
    bench.run("migrate", "finish", "m", "--yes", check=True)


SHAPED = [
    pytest.param(
        *pair,
        # Each engine is the target in each shape, and no two pairs of one source have to have the same.
        SHAPES[(sorted(AT_HAND).index(pair[0]) + sorted(AT_HAND).index(pair[1])) % len(SHAPES)],
        id="-to-".join(pair),
    )
    for pair in PAIRS
]


@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.parametrize(("start", "to", "shape"), SHAPED)
def test_each_pair_there_and_back(start: str, to: str, shape: str) -> None:
    both = start in FIELD_TTLS and to in FIELD_TTLS
    with benched() as bench, plain(need(start)) as source, an_end(shape, need(to)) as end:
        fill(source, 400, field_ttls=both)
        there_and_back(bench, source, end.primary, to=end.url)
        end.settled()
        assert end.primary.info()["role"] == "master"


@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.parametrize("pair", [("redis-8.0", "valkey-9.1"), ("valkey-8.1", "redis-7.0")], ids="-to-".join)
def test_sentinels_on_both_sides(pair: tuple[str, str]) -> None:
    """Those of the fenced source make no primary of its replica, nor when the migration is over."""
    with (
        benched() as bench,
        an_end("sentinel", need(pair[0])) as source,
        an_end("sentinel", need(pair[1])) as target,
    ):
        fill(source.primary, 200, field_ttls=False)
        there_and_back(bench, source.primary, target.primary, start=source.url, to=target.url)
        target.settled()
        assert source.replica is not None
        time.sleep(DOWN_AFTER_MS / 1000 * 4)
        assert source.primary.info()["role"] == source.replica.info()["role"] == "slave"


@pytest.mark.long
@pytest.mark.timeout(180)
@pytest.mark.parametrize("to", ["redis-6.2", "valkey-8.1", "valkey-9.1"])
def test_from_a_redis_5_there_and_back(to: str) -> None:
    """It has no RESP3, no users, and no pause of writes: they are refused during the switch instead."""
    with benched() as bench, plain(redis_5(), password="old-word") as source, plain(need(to)) as target:
        fill(source, 400, field_ttls=False)
        (bench.folder / "word").write_text("old-word\n")
        there_and_back(bench, source, target, ["--from-auth-file", str(bench.folder / "word")])


@pytest.mark.long
@pytest.mark.timeout(240)
def test_passwords_and_tls_on_both_ends(tmp_path: Path) -> None:
    ours, theirs = make_tls(tmp_path / "ours"), make_tls(tmp_path / "theirs")
    for name, word in (("from", "old word"), ("to", "new word")):
        (tmp_path / name).write_text(f"default\n{word.replace(' ', '-')}\n")
    with (
        benched() as bench,
        plain(need("redis-8.0"), password="old-word", tls=ours) as source,
        plain(need("valkey-8.0"), password="new-word", tls=theirs) as target,
    ):
        fill(source, 200, field_ttls=False)
        words = ["--from-auth-file", str(tmp_path / "from"), "--to-auth-file", str(tmp_path / "to")]
        words += ["--from-ca", ours.ca, "--to-ca", theirs.ca]
        ends = ("--from", source.url, "--to", target.url)
        refused = bench.run("migrate", "start", "m", *ends, *words)
        assert refused.code == 1
        assert "--relay-cert" in refused.err
        # One certificate for both directions: each end is made to trust the other's authority as well.
        both = tmp_path / "both.pem"
        both.write_text(Path(ours.ca).read_text() + Path(theirs.ca).read_text())
        for server in (source, target):
            server.client.config_set("tls-ca-cert-file", str(both))
        words += ["--relay-cert", ours.cert, "--relay-key", ours.key]
        there_and_back(bench, source, target, words)
        for file in (bench.state / "jobs").rglob("*"):
            if file.is_file() and file.name != "secrets.json":
                assert b"old-word" not in file.read_bytes(), file
                assert b"new-word" not in file.read_bytes(), file
        assert b"word" not in (bench.state / "audit.log").read_bytes()


RIGHTS = next(
    line.split()[5:]
    for line in (ROOT / "docs" / "migrate.md").read_text().splitlines()
    if line.strip().startswith("ACL SETUSER holdfast ")
)
"""Behind `on >PASSWORD`."""


@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.parametrize("pair", [("redis-7.0", "valkey-9.1"), ("redis-6.2", "valkey-8.1")], ids="-to-".join)
def test_users_that_may_do_what_the_documentation_says_and_no_more(
    pair: tuple[str, str], tmp_path: Path
) -> None:
    (tmp_path / "login").write_text("holdfast\nsecret-word\n")
    with benched() as bench, plain(need(pair[0])) as source, plain(need(pair[1])) as target:
        fill(source, 200, field_ttls=False)
        for server in (source, target):
            old = server.build.version < (7, 0, 0)
            rights = [each for each in RIGHTS if not old or each not in {"+function|list", "+acl|dryrun"}]
            server.client.execute_command("ACL", "SETUSER", "holdfast", "on", ">secret-word", *rights)
        words = ["--from-auth-file", str(tmp_path / "login"), "--to-auth-file", str(tmp_path / "login")]
        there_and_back(bench, source, target, words)


@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.parametrize("mode", ["standalone", "replicated", "sentinel"])
def test_into_a_cache_of_ours_named_by_its_file(mode: str) -> None:
    need("valkey-9.1")
    replicas = 0 if mode == "standalone" else 1
    sentinels = "  replicas: 1\n" if replicas else ""
    text = f"format: 1\ncache:\n  name: cart\nengine:\n  name: valkey\n  version: '9.1'\ntopology:\n  mode: {mode}\n{sentinels}security:\n  tls:\n    mode: off\n"
    with benched() as bench, plain(need("redis-8.0")) as source:
        spec = bench.spec(text)
        bench.run("up", str(spec), check=True)
        fill(source, 200, field_ttls=True)
        bench.run("migrate", "start", "m", "--from", source.url, "--to", str(spec), check=True)
        in_step(bench)
        assert bench.run("migrate", "verify", "m", "--json", check=True).facts["different"] == 0
        bench.run("migrate", "cutover", "m", check=True)
        in_step(bench)
        bench.run("call", "cart", "SET", "k", "v", check=True)
        until(lambda: source.client.get("k") == b"v", 10)
        bench.run("migrate", "finish", "m", "--yes", check=True)
        until(lambda: not bench.status("cart")["problems"], 30)
