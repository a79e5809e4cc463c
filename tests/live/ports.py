"""Ports that no other test of this machine takes, whatever runs beside it.

A port of the system's choosing is free only until somebody's outgoing connection is given it. These are below the range of
such connections, the bus ports of clusters (10000 above) too, and each stretch of them is one process's by a lock.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

LOOPBACK = "127.0.0.1"
FIRST = 10_000
LENGTH = 40
STRETCHES = 250
"""So that nobody's port is somebody's bus port."""
BUS = 10_000
OWN_STRETCHES = 3
LOCKS = Path(tempfile.gettempdir()) / f"hf-ports-{os.getuid()}"


@dataclass
class Ports:
    """A stretch of `LENGTH` ports."""

    first: int
    _lock: int
    """A locked file, let go with this process at the latest."""

    @classmethod
    def claim(cls) -> Self:
        """The next one that nobody has."""
        LOCKS.mkdir(exist_ok=True)
        for number in itertools.islice(_numbers, STRETCHES):
            lock = os.open(LOCKS / str(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
            else:
                return cls(FIRST + number * LENGTH, lock)
        raise AssertionError(f"other tests have all {STRETCHES} stretches of ports: {LOCKS}")

    def release(self) -> None:
        """Let others have it."""
        os.close(self._lock)


_numbers = (number % STRETCHES for number in itertools.count(os.getpid() * 37))


def free_ports(count: int) -> list[int]:
    """So many on which nobody listens, nor on their bus ports; the same one comes again after a hundred others."""
    usable = (
        port for port in itertools.islice(_own, OWN_STRETCHES * LENGTH) if _free(port) and _free(port + BUS)
    )
    found = list(itertools.islice(usable, count))
    assert len(found) == count, f"{count} ports were wanted, {len(found)} are free"
    return found


def free_port() -> int:
    """One."""
    return free_ports(1)[0]


def _around() -> Iterator[int]:
    stretches = [Ports.claim() for _ in range(OWN_STRETCHES)]
    yield from itertools.cycle(stretch.first + place for stretch in stretches for place in range(LENGTH))


_own = _around()


def _free(port: int) -> bool:
    with socket.socket() as holder:
        holder.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as servers do: an ended connection is no user
        try:
            holder.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
