"""A worker's connections: opened, lost, opened again, and the map that says which node is asked for which slot.

Opening and asking for the map block, so they happen in a thread of their own; the worker's loop never waits for them.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import ssl
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import hiredis

from holdfast.load.commands import Op
from holdfast.load.draw import command
from holdfast.load.job import Reach

OPEN_BOUND_S = 1.0
TRY_AGAIN_S = 0.005
SLOTS = 16384


class Link:
    """One connection of one client to one node. Nonblocking; answers come in the order of `ops`."""

    __slots__ = ("client", "node", "ops", "reader", "since_s", "sock", "unsent")

    def __init__(self, client: int, node: int, sock: socket.socket) -> None:
        self.client = client
        self.node = node
        self.sock = sock
        self.reader = hiredis.Reader()
        self.ops: deque[Op] = deque()
        self.unsent = b""
        self.since_s = 0.0
        """When it last answered, or was given something after having been idle."""

    def send(self, data: bytes) -> bool:
        """Send what goes; whether all went. Raises: OSError."""
        data = self.unsent + data if self.unsent else data
        try:
            sent = self.sock.send(data)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            sent = 0
        self.unsent = data[sent:] if sent < len(data) else b""
        return not self.unsent

    def feed(self) -> bool:
        """Read what has come into the reader; False when the other side has closed. Raises: OSError."""
        try:
            while True:
                data = self.sock.recv(262_144)
                if not data:
                    return False
                self.reader.feed(data)
                if not isinstance(self.sock, ssl.SSLSocket) or not self.sock.pending():
                    return True
        except (BlockingIOError, ssl.SSLWantReadError):
            return True


@dataclass(frozen=True)
class Door:
    """How a worker opens connections."""

    reach: Reach

    def open(self, node: int, *, read_only: bool = False, timeout_s: float = OPEN_BOUND_S) -> socket.socket:
        """Connect to the node and log in; blocking. Raises: OSError, also for a refused log-in."""
        sock = socket.create_connection(self.reach.nodes[node], timeout_s)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.reach.ca_file:
                sock = _context(self.reach.ca_file).wrap_socket(
                    sock, server_hostname=self.reach.nodes[node][0]
                )
            if self.reach.password:
                words = [self.reach.user] if self.reach.user else []
                self._ask(sock, "AUTH", *words, self.reach.password)
            if read_only:
                self._ask(sock, "READONLY")
        except BaseException:
            sock.close()
            raise
        return sock

    def ask(self, node: int, *words: str, timeout_s: float = 0.3) -> Any:
        """One command on a connection of its own. Raises: OSError."""
        with contextlib.closing(self.open(node, timeout_s=timeout_s)) as sock:
            return self._ask(sock, *words)

    @staticmethod
    def _ask(sock: socket.socket, *words: str) -> Any:
        sock.sendall(command(*(word.encode() for word in words)))
        reader = hiredis.Reader()
        while (reply := reader.gets()) is False:
            data = sock.recv(65_536)
            if not data:
                raise ConnectionError("closed")
            reader.feed(data)
        if isinstance(reply, hiredis.ReplyError):
            raise ConnectionRefusedError(f"{words[0]}: {reply}")
        return reply


_CONTEXTS: dict[str, ssl.SSLContext] = {}


def _context(ca_file: str) -> ssl.SSLContext:
    """TLS that trusts this authority and nobody else; read once."""
    if ca_file not in _CONTEXTS:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(ca_file)
        _CONTEXTS[ca_file] = context
    return _CONTEXTS[ca_file]


class Mender:
    """Opens lost connections again and keeps the map of slots, in a thread of its own."""

    def __init__(self, reach: Reach) -> None:
        self.door = Door(reach)
        self.reach = reach
        self.owner = owners(reach)
        """Slot -> index of the node that serves it (all slots -> the primary, outside a cluster)."""
        self.opened: queue.SimpleQueue[Link] = queue.SimpleQueue()
        self._wanted: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
        self._doubted = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="mender")
        self._mapper = threading.Thread(target=self._keep_map, daemon=True, name="mapper")
        self._thread.start()
        self._mapper.start()

    def want(self, client: int, node: int) -> None:
        """Have that connection opened, as soon as it can be."""
        self._wanted.put((client, node))

    def doubt(self) -> None:
        """The map may be wrong: have it asked for."""
        self._doubted.set()

    def close(self) -> None:
        self._ended.set()
        self._doubted.set()
        self._wanted.put(None)
        self._thread.join(3)
        self._mapper.join(3)

    def _run(self) -> None:
        replicas = set(self.reach.replicas.values())
        while (wish := self._wanted.get()) is not None and not self._ended.is_set():
            client, node = wish
            try:
                read_only = self.reach.clustered and node in replicas
                sock = self.door.open(node, read_only=read_only, timeout_s=0.3)
            except OSError:
                time.sleep(TRY_AGAIN_S)
                self._wanted.put(wish)
                continue
            sock.setblocking(False)
            self.opened.put(Link(client, node, sock))

    def _keep_map(self) -> None:
        while not self._ended.is_set():
            self._doubted.wait()
            self._doubted.clear()
            for node in range(len(self.reach.nodes)):
                if self._ended.is_set():
                    return
                with contextlib.suppress(OSError, ValueError, IndexError, TypeError):
                    if self._learn(node):
                        break
            time.sleep(TRY_AGAIN_S)

    def _learn(self, node: int) -> bool:
        """Ask one node; whether the map is whole by its word."""
        if not self.reach.clustered:
            if self.door.ask(node, "ROLE")[0] == b"master":
                self.owner = [node] * SLOTS
                return True
            return False
        found = list(self.owner)
        places = {place: index for index, place in enumerate(self.reach.nodes)}
        count = 0
        for first, last, primary, *_ in self.door.ask(node, "CLUSTER", "SLOTS"):
            index = places[(primary[0].decode(), primary[1])]
            found[first : last + 1] = [index] * (last - first + 1)
            count += last - first + 1
        self.owner = found
        return count == SLOTS


def owners(reach: Reach) -> list[int]:
    """For each slot the index of the node that serves it."""
    found = [reach.primaries[0]] * SLOTS
    for first, last, owner in reach.slots:
        found[first : last + 1] = [owner] * (last - first + 1)
    return found
