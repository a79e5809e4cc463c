"""What a load worker does before and after the load: fill, read back, remove. Blocking, in pipelines."""

from __future__ import annotations

import socket
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import hiredis

from holdfast.load.accounts import Accounts
from holdfast.load.draw import FlowKeys, Key, Values, bulk
from holdfast.load.links import Door, Mender

TOGETHER = 64
CHORE_BOUND_S = 10.0
_TRIES = 3

Wish = tuple[Key, bytes, Callable[[Any], None]]
"""A key, the command about it, and who wants the answer."""


class Chores:
    """Pipelines of commands to the nodes that own their keys."""

    def __init__(self, mender: Mender, keys: list[FlowKeys], accounts: Accounts) -> None:
        self._mender = mender
        self._door: Door = mender.door
        self._keys = keys
        self._accounts = accounts
        self._socks: dict[int, socket.socket] = {}
        self._together = TOGETHER

    def prefill(self, values: list[Values], expiry: list[bytes]) -> int:
        """SET every key of every flow. Returns: how many were acknowledged."""
        done = 0

        def wishes() -> Iterator[Wish]:
            for flow, keys in enumerate(self._keys):
                for number in range(keys.count):
                    version = self._accounts.next_id()
                    key = keys.key(number)
                    value = bulk(values[flow].of(version))
                    data = b"*5\r\n$3\r\nSET\r\n" + key[0] + value + expiry[flow]
                    yield key, data, partial(took, (flow, number, version))

        def took(at: tuple[int, int, int], reply: Any) -> None:
            nonlocal done
            if not isinstance(reply, hiredis.ReplyError):
                self._accounts.filled(*at)
                done += 1

        self._do(wishes())
        return done

    def verify(self, *, may_be_gone: bool) -> None:
        """Read every key back that has an acknowledged write."""
        accounts = self._accounts

        def wishes() -> Iterator[Wish]:
            for flow, acked in enumerate(accounts.acked):
                for number in acked:
                    key = self._keys[flow].key(number)
                    yield key, b"*2\r\n$3\r\nGET\r\n" + key[0], partial(one, (flow, number))
            for flow, appended in enumerate(accounts.appended):
                for number in appended:
                    key = self._keys[flow].key(number, "l")
                    data = b"*4\r\n$6\r\nLRANGE\r\n" + key[0] + bulk(b"0") + bulk(b"-1")
                    yield key, data, partial(many, (flow, number))

        def one(at: tuple[int, int], reply: Any) -> None:
            if not isinstance(reply, hiredis.ReplyError):
                accounts.check_value(*at, reply, may_be_gone=may_be_gone)

        def many(at: tuple[int, int], reply: Any) -> None:
            if isinstance(reply, list):
                accounts.check_list(*at, reply)

        self._do(wishes())

    def remove(self) -> int:
        """Remove every key that may exist. Returns: how many were there."""
        removed = 0

        def took(reply: Any) -> None:
            nonlocal removed
            removed += reply if isinstance(reply, int) else 0

        def wishes() -> Iterator[Wish]:
            for key in self._all():
                yield key, b"*2\r\n$6\r\nUNLINK\r\n" + key[0], took

        self._do(wishes())
        return removed

    def _all(self) -> Iterator[Key]:
        for flow, acked in enumerate(self._accounts.acked):
            yield from (self._keys[flow].key(number) for number in acked)
        for flow, kind, number in self._accounts.touched:
            yield self._keys[flow].key(number, kind)

    def evicted(self) -> int:
        """Keys that the primaries have evicted or let expire since they started."""
        total = 0
        for node in set(self._mender.owner):
            text = self._door.ask(node, "INFO", "stats", timeout_s=2.0).decode()
            for line in text.splitlines():
                name, _, value = line.partition(":")
                if name in {"evicted_keys", "expired_keys"}:
                    total += int(value)
        return total

    def close(self) -> None:
        for sock in self._socks.values():
            sock.close()

    def _do(self, wishes: Iterable[Wish]) -> None:
        """Send all, in pipelines by node; what a node that does not own a key says is asked again of the one that does."""
        waiting: dict[int, list[Wish]] = defaultdict(list)
        for wish in wishes:
            node = self._mender.owner[wish[0][1]]
            waiting[node].append(wish)
            if len(waiting[node]) >= self._together:
                self._pipeline(node, waiting.pop(node), _TRIES)
        for node, rest in waiting.items():
            self._pipeline(node, rest, _TRIES)

    def _pipeline(self, node: int, wishes: list[Wish], tries: int) -> None:
        if node not in self._socks:
            self._socks[node] = self._door.open(node, timeout_s=CHORE_BOUND_S)
        try:
            replies = self._exchange(node, b"".join(data for _, data, _ in wishes), len(wishes))
        except OSError as broken:
            self._socks.pop(node).close()
            if len(wishes) == 1 or not isinstance(broken, ConnectionError):
                raise
            self._together = half = (
                len(wishes) // 2
            )  # so many answers at once may be more than a client is allowed
            self._pipeline(node, wishes[:half], tries)
            self._pipeline(node, wishes[half:], tries)
            return
        moved: dict[int, list[Wish]] = defaultdict(list)
        for wish, reply in zip(wishes, replies, strict=True):
            words = str(reply) if isinstance(reply, hiredis.ReplyError) else ""
            if tries and words.startswith("MOVED "):
                host, _, port = words.split(" ")[2].rpartition(":")
                target = self._door.reach.nodes.index((host.strip("[]"), int(port)))
                self._mender.owner[wish[0][1]] = target
                moved[target].append(wish)
            else:
                wish[2](reply)
        for target, again in moved.items():
            self._pipeline(target, again, tries - 1)

    def _exchange(self, node: int, data: bytes, count: int) -> list[Any]:
        """Raises: OSError."""
        sock = self._socks[node]
        sock.sendall(data)
        reader = hiredis.Reader()
        replies: list[Any] = []
        while len(replies) < count:
            reply = reader.gets()
            if reply is False:
                came = sock.recv(262_144)
                if not came:
                    raise ConnectionError(f"{self._door.reach.nodes[node]} closed the connection")
                reader.feed(came)
            else:
                replies.append(reply)
        return replies
