"""A wire between two servers that breaks after so many bytes, as often as a test says, and carries everything from then on."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.live.ports import LOOPBACK

PIECE_BYTES = 1 << 16


@dataclass
class Wire:
    """Listens at `port` and carries to the port of another."""

    to: int
    cuts: Sequence[int]
    """For each of the first connections that get so far, after how many bytes towards the caller it breaks."""
    port: int = 0
    carried: list[int] = field(default_factory=list)
    """For each connection, bytes towards the caller."""
    done: int = 0
    """Cuts that were made."""
    _listener: socket.socket = field(default_factory=socket.socket)

    @contextlib.contextmanager
    def open(self) -> Iterator[Wire]:
        self._listener.bind((LOOPBACK, 0))
        self._listener.listen()
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        try:
            yield self
        finally:
            self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(caller,), daemon=True).start()

    def _carry(self, caller: socket.socket) -> None:
        with contextlib.suppress(OSError), caller, socket.create_connection((LOOPBACK, self.to)) as other:
            number = len(self.carried)
            self.carried.append(0)
            threading.Thread(target=self._back, args=(caller, other), daemon=True).start()
            while data := other.recv(PIECE_BYTES):
                bound = self.cuts[self.done] if self.done < len(self.cuts) else -1
                if 0 <= bound < self.carried[number] + len(data):
                    self.done += 1
                    caller.sendall(data[: bound - self.carried[number]])
                    break
                caller.sendall(data)
                self.carried[number] += len(data)
            for each in (caller, other):
                each.shutdown(socket.SHUT_RDWR)

    def _back(self, caller: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := caller.recv(PIECE_BYTES):
                other.sendall(data)
            other.shutdown(socket.SHUT_RDWR)
