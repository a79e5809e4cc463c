"""Feels the pulse of one node of this machine several times a second, at a cost of two system calls.

A PING goes out at each beat over the node's Unix socket and its answer is looked for at the next: whatever comes back
is life. Nothing is awaited, so a hung node cannot hold up the others.
"""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from holdfast.state import socket_address

PING = b"*1\r\n$4\r\nPING\r\n"
UNANSWERED_AT_MOST = 64
"""PINGs sent to a silent node before only listening goes on; its buffer is not to be filled."""


class Pulse:
    """One node's pulse."""

    def __init__(self, socket_file: Path, user: str, password: str) -> None:
        self._file = socket_file
        self._login = _command("AUTH", user, password) if user else b""
        self._socket: socket.socket | None = None
        self._unanswered = 0

    def beat(self) -> bool:
        """Look for the last answer and ask again; whether there was a sign of life since the last beat.

        A sentinel has no such socket: it has no pulse to feel, which is no silence.
        """
        if self._socket is None:
            return not self._connect() and not self._file.exists()
        try:
            heard = self._socket.recv(65536)
        except BlockingIOError:
            heard = None
        except OSError:
            heard = b""
        if heard == b"":
            self.close()  # it ended, or it threw us out: the next beat connects anew
            return False
        if heard:
            self._unanswered = 0
        if self._unanswered < UNANSWERED_AT_MOST:
            with contextlib.suppress(OSError):
                self._socket.send(PING)
                self._unanswered += 1
        return bool(heard)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> bool:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.setblocking(False)
        try:
            with socket_address(self._file) as path:
                made.connect(path)
            made.send(self._login + PING)
        except OSError:
            made.close()
            return False
        self._socket = made
        self._unanswered = 1
        return True


def is_halted(pid: int) -> bool:
    """Whether the process is stopped (SIGSTOP, a debugger): not slow, but not running at all."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] in {"T", "t"}


def _command(*words: str) -> bytes:
    parts = [os.fsencode(word) for word in words]
    return b"".join([b"*%d\r\n" % len(parts), *(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)])
