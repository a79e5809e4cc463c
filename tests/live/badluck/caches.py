"""What the tests of bad luck share: small caches, writes that are remembered, and what a good refusal looks like."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.live.conftest import AT_HAND, Bench, Outcome, until

from holdfast.cli.look import look
from holdfast.cli.opening import Named
from holdfast.cli.views import status_facts
from holdfast.state import StateFolder
from holdfast.supervisor.client import SupervisorClient
from holdfast.topology.call import call as topology_call
from holdfast.topology.observe import Access
from holdfast.topology.store import CacheStore

ENGINE = "redis-7.0" if "redis-7.0" in AT_HAND else "valkey-9.1"
"""Starts quickest; what is tested here is Holdfast, and tests/live/topology runs all engines."""
TRACEBACK = re.compile(r"Traceback|Error:|^\s+File ", re.MULTILINE)


def spec_text(
    name: str = "shop",
    *,
    mode: str = "standalone",
    port: int | None = None,
    persistence: str = "none",
    engine: str = ENGINE,
    tls: str = "off",
    more: str = "",
) -> str:
    """A spec of one of the modes.

    Args: `port`, the first one wished, without it the bench's own; `persistence`, none, rdb or aof; `more`, whole sections.
    """
    sizes = {
        "standalone": "mode: standalone",
        "replicated": "mode: replicated\n  replicas: 1\n  zones: [a, b]",
        "sentinel": "mode: sentinel\n  replicas: 2\n  zones: [a, b, c]",
        "cluster": "mode: cluster\n  shards: 3\n  replicas: 1\n  zones: [a, b, c]",
    }
    kept = {
        "none": "rdb: {enabled: false}",
        "rdb": 'rdb: {save: ["3600 1"]}',
        "aof": "rdb: {enabled: false}\n  aof: {enabled: true, fsync: everysec}",
    }
    wish = f"  port: {port}\n" if port else ""
    kind, _, version = engine.partition("-")
    return (
        f"format: 1\ncache: {{name: {name}}}\nengine: {{name: {kind}, version: '{version}'}}\n"
        f"topology:\n  {sizes[mode]}\n  node_timeout: 2s\n{wish}"
        f"memory: {{maxmemory: 32mb}}\nsecurity: {{tls: {{mode: {tls}}}}}\npersistence:\n  {kept[persistence]}\n{more}"
    )


def bring_up(bench: Bench, text: str, file: str = "cache.yaml") -> Path:
    """A cache that is up and healthy; its spec file."""
    path = bench.spec(text, file)
    bench.run("up", str(path), check=True)
    return path


def healthy(bench: Bench, cache: str = "shop") -> Any:
    """The facts of `holdfast status` for a cache that has to be whole; fails the test when it is not."""
    state = StateFolder(bench.state)
    store = CacheStore(state, cache)
    facts = status_facts(asyncio.run(look(Named(store.spec(), store, state, from_file=False))))
    assert facts["problems"] == []
    assert facts["healthy"]
    assert facts["notes"] == []
    return facts


def refusal(done: Outcome, *words: str, code: int = 1) -> str:
    """The one sentence of a command that failed as it should, holding all of `words` (any letter case)."""
    said = done.err.strip()
    assert done.code == code, (done.code, done.out, said)
    assert not TRACEBACK.search(said), said
    assert len(said.splitlines()) == 1, said
    assert said.startswith("holdfast: "), said
    for word in words:
        assert word.lower() in said.lower(), (word, said)
    return said


def call(bench: Bench, cache: str, *words: str, node: str = "") -> Any:
    """One command as the operator, by the way that `holdfast call` goes; its reply."""
    return calls(bench, cache, [words], node)[0]


def calls(bench: Bench, cache: str, commands: Sequence[Sequence[str]], node: str = "") -> list[Any]:
    """Several, one after the other."""
    store = CacheStore(StateFolder(bench.state), cache)
    record = store.record()
    access = Access(store.own_credentials(), store.trust(tls_on=record.tls))
    who = store.operator_credentials(store.spec().spec.security.access.operators[0])

    async def send() -> list[Any]:
        return [(await topology_call(record, access, who, words, node)).reply for words in commands]

    return asyncio.run(send())


def write(bench: Bench, cache: str, count: int = 12, prefix: str = "k") -> dict[str, str]:
    """Keys that were acknowledged, spread over the slots."""
    kept = {f"{prefix}{number}": f"v{number}" for number in range(count)}
    assert calls(bench, cache, [("SET", key, value) for key, value in kept.items()]) == ["OK"] * count
    return kept


def copied(bench: Bench, cache: str, to: str, count: int) -> None:
    """Wait until the replica has so many keys: after a full copy its stream begins with its first word, a second later."""
    until(lambda: call(bench, cache, "DBSIZE", node=to) == count)


def read(bench: Bench, cache: str, keys: dict[str, str]) -> dict[str, str]:
    """The same keys as the cache has them now."""
    return dict(zip(keys, calls(bench, cache, [("GET", key) for key in keys]), strict=True))


def node(facts: Any, name: str) -> Any:
    """One node of a status."""
    return next(each for each in facts["nodes"] if each["name"] == name)


def roles(facts: Any) -> dict[str, str]:
    """Node -> role."""
    return {each["name"]: each["role"] for each in facts["nodes"]}


def primary_of(facts: Any) -> str:
    """The one primary of a cache without shards."""
    (found,) = [each["name"] for each in facts["nodes"] if each["role"] == "primary"]
    return str(found)


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Signal a process of the bench and, for SIGKILL, wait until it is gone."""
    os.kill(pid, number)
    if number is signal.SIGKILL:
        until(lambda: gone(pid), 10.0, 0.01)


def gone(pid: int) -> bool:
    """Whether no living process has the pid."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return True


def pids(bench: Bench, cache: str = "shop") -> dict[str, int]:
    """Node -> pid of the cache's processes that live."""
    return bench.pids(cache)


def let_die(bench: Bench, cache: str = "shop") -> None:
    """Have the supervisor only look on: what dies stays dead, as on a machine that nobody watches over."""

    async def ask() -> None:
        async with SupervisorClient("local", bench.state / "supervisor" / "socket") as client:
            await client.unwatch(cache)

    asyncio.run(ask())


def power_cut(bench: Bench, cache: str = "shop") -> None:
    """Everything dies at once: the supervisor, and every node of the cache."""
    doomed = [supervisor_pid(bench), *pids(bench, cache).values()]
    for pid in doomed:
        os.kill(pid, signal.SIGKILL)
    until(lambda: all(gone(pid) for pid in doomed), 10.0, 0.01)


def supervisor_pid(bench: Bench) -> int:
    """The bench's supervisor, by the lock that it holds."""
    return int((bench.state / "supervisor" / "lock").read_text())


def node_folder(bench: Bench, name: str, cache: str = "shop") -> Path:
    """Where a node's files lie."""
    return bench.state / "nodes" / cache / name
