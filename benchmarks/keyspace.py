"""Loads the keys of the reshard measurement into a cluster, and afterwards accounts for every one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from redis.cluster import ClusterNode, RedisCluster
from redis.crc import key_slot

from benchmarks.dataset import client_key, loaded_key, size_bytes, value
from benchmarks.traffic import Seen

BATCH = 500

Entry = TypeVar("Entry")


@dataclass
class Account:
    """What became of the keys."""

    expected: int = 0
    lost: int = 0
    """Acknowledged and not there."""
    wrong: int = 0
    """There with another value than the one acknowledged last."""
    unsure: int = 0
    """Writes that failed and are there or not: either is right."""
    held: dict[str, tuple[int, int]] = field(default_factory=dict)
    """For each primary, by address: keys that were found there, and bytes of keys and values."""
    examples: list[str] = field(default_factory=list)

    @property
    def found(self) -> int:
        return sum(keys for keys, _ in self.held.values())


def load(cache: RedisCluster, keys: int) -> None:
    """Write the loaded keys, each straight to the primary that owns its slot."""
    numbered = (loaded_key(number) for number in range(keys))
    for node, batch in _by_owner(cache, numbered, lambda key: key):
        with _pipeline(cache, node) as pipe:
            for key in batch:
                pipe.set(key, value(key, 0))
            pipe.execute()


def account(cache: RedisCluster, keys: int, ledgers: Sequence[Seen]) -> Account:
    """Read every key that was acknowledged, and compare."""
    cache.nodes_manager.initialize()
    result = Account()
    for node, batch in _by_owner(cache, _expected(keys, ledgers), lambda entry: entry[0]):
        with _pipeline(cache, node) as pipe:
            for key, _, _ in batch:
                pipe.get(key)
            answers = pipe.execute()
        for (key, sure, unsure), answer in zip(batch, answers, strict=True):
            _enter(result, node.name, key, sure, unsure, answer)
    return result


Expected = tuple[bytes, int | None, list[int]]
"""A key, the version acknowledged last (None: never), and those that may be there instead."""


def _expected(keys: int, ledgers: Sequence[Seen]) -> Iterator[Expected]:
    versions = {number: version for ledger in ledgers for number, version in ledger.versions.items()}
    unsure = {key.encode(): version for ledger in ledgers for key, version in ledger.unsure.items()}
    for number in range(keys):
        key = loaded_key(number)
        yield key, versions.get(number, 0), unsure.get(key, [])
    for ledger in ledgers:
        for number in range(ledger.made):
            key = client_key(ledger.client, number)
            yield key, None if key in unsure else 0, unsure.get(key, [])


def _enter(
    result: Account, node: str, key: bytes, sure: int | None, unsure: list[int], answer: bytes | None
) -> None:
    result.expected += sure is not None
    result.unsure += bool(unsure)
    if answer is None:
        if sure is not None:
            result.lost += 1
            result.examples.append(f"{key.decode()} is lost")
        return
    count, size = result.held.get(node, (0, 0))
    result.held[node] = (count + 1, size + len(key) + size_bytes(key))
    right = [*unsure, *([] if sure is None else [sure])]
    if all(answer != value(key, version) for version in right):
        result.wrong += 1
        result.examples.append(f"{key.decode()} is {answer[:40]!r}, version {right} was written")


def _by_owner(
    cache: RedisCluster, entries: Iterable[Entry], key_of: Callable[[Entry], bytes]
) -> Iterator[tuple[ClusterNode, list[Entry]]]:
    """The entries in batches, each of keys that one primary owns, as the client's slot table has it."""
    owners = {slot: nodes[0] for slot, nodes in cache.nodes_manager.slots_cache.items()}
    batches: dict[str, list[Entry]] = {node.name: [] for node in owners.values()}
    nodes = {node.name: node for node in owners.values()}
    for entry in entries:
        name = owners[key_slot(key_of(entry))].name
        batches[name].append(entry)
        if len(batches[name]) == BATCH:
            yield nodes[name], batches[name]
            batches[name] = []
    for name, rest in batches.items():
        if rest:
            yield nodes[name], rest


def _pipeline(cache: RedisCluster, node: ClusterNode) -> Any:
    return cache.get_redis_connection(node).pipeline(transaction=False)
