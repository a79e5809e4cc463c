"""Clients of a whole cluster that count a write only once a replica has it, wherever its slot has gone meanwhile."""

from __future__ import annotations

import threading
import time
from typing import Any

import redis
from tests.live.supervisor.ledger import Account, Way

TRIES = 40


class Connections:
    """One connection to each node, for one thread: a WAIT counts for the writes of its own connection only."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._by_address = {address: name for name, address in way.members.items()}
        self._open: dict[tuple[str, int], redis.Redis] = {}
        self._places: dict[str, tuple[str, int]] = {}
        """Key -> where it was last."""

    def do(self, key: str, *words: str | int, wait: bool = False) -> Any:
        """One command about one key, following redirections. Returns: its reply; with `wait`, how many replicas
        have it. Raises: redis.RedisError where it may or may not have been done.
        """
        at, asking = self._places.get(key, next(iter(self._by_address))), False
        for _ in range(TRIES):
            node = self._node(at)
            try:
                if asking:
                    node.execute_command("ASKING")  # type: ignore[no-untyped-call]
                reply = node.execute_command(*words)  # type: ignore[no-untyped-call]
            except (
                redis.exceptions.AskError
            ) as elsewhere:  # a kind of ResponseError, and MovedError a kind of it
                asking = not isinstance(elsewhere, redis.exceptions.MovedError)
                at = (str(elsewhere.host), int(elsewhere.port))
                if not asking:
                    self._places[key] = at
                continue
            except redis.RedisError:
                self.forget(at)
                self._places.pop(key, None)
                raise
            return node.execute_command("WAIT", 1, 1000) if wait else reply  # type: ignore[no-untyped-call]
        raise redis.RedisError(f"{TRIES} redirections of {key}")

    def anywhere(self, key: str, number: int) -> None:
        """Ask another node next time where the key is."""
        addresses = list(self._by_address)
        self._places[key] = addresses[number % len(addresses)]

    def forget(self, at: tuple[str, int]) -> None:
        """Close what is kept open to that node."""
        if at in self._open:
            self._open.pop(at).close()

    def close(self) -> None:
        """Close all."""
        for at in list(self._open):
            self.forget(at)

    def _node(self, at: tuple[str, int]) -> redis.Redis:
        if at not in self._open:
            if at not in self._by_address:  # one that was added since
                self._way.__post_init__()
                self._by_address = {address: name for name, address in self._way.members.items()}
            self._open[at] = redis.Redis(
                host=at[0], port=at[1], single_connection_client=True, **self._way.settings
            )
        return self._open[at]


class Roaming:
    """Writers over keys of many slots; each appends to lists of its own and counts what WAIT 1 has confirmed."""

    def __init__(self, way: Way, threads: int = 2, keys: int = 60) -> None:
        self._way = way
        self.accounts = [
            {f"cart:roam{number}-{key}": Account() for key in range(keys)} for number in range(threads)
        ]
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._write, args=(own,), daemon=True) for own in self.accounts
        ]

    def __enter__(self) -> Roaming:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=30)

    @property
    def acknowledged(self) -> int:
        return sum(len(account.acknowledged) for own in self.accounts for account in own.values())

    def lost(self) -> dict[str, list[str]]:
        """Key -> what was confirmed and is not there."""
        reader = Connections(self._way)
        found = {}
        for own in self.accounts:
            for key, account in own.items():
                if gone := set(account.acknowledged) - set(_patiently(reader, key)):
                    found[key] = sorted(gone, key=int)
        reader.close()
        return found

    def _write(self, own: dict[str, Account]) -> None:
        connections = Connections(self._way)
        number = 0
        names = list(own)
        while not self._stop.is_set():
            number += 1
            key = names[number % len(names)]
            account = own[key]
            try:
                if int(connections.do(key, "RPUSH", key, str(number), wait=True)) >= 1:
                    account.acknowledged.append(str(number))
                    account.at_s.append(time.monotonic())
            except redis.RedisError:
                account.errors += 1
                connections.anywhere(key, number)
                time.sleep(0.005)
            time.sleep(0.0005)
        connections.close()


def _patiently(reader: Connections, key: str) -> list[str]:
    for number in range(TRIES):
        try:
            return list(reader.do(key, "LRANGE", key, 0, -1))
        except redis.RedisError:
            reader.anywhere(key, number)
            time.sleep(0.1)
    raise AssertionError(f"{key} cannot be read")
