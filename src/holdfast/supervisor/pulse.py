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
    """One node's pulse. Times are the event loop's, in seconds."""

    def __init__(self, socket_file: Path, user: str, password: str, now_s: float) -> None:
        self._file = socket_file
        self._login = _command("AUTH", user, password) if user else b""
        self._socket: socket.socket | None = None
        self._unanswered = 0
        self.last_life_s = now_s

    def beat(self, now_s: float) -> float:
        """Look for the last answer, ask again; seconds since the last sign of life."""
        if self._socket is None and not self._connect():
            if (
                not self._file.exists()
            ):  # a sentinel has no such socket: it has no pulse to feel, which is no silence
                self.last_life_s = now_s
            return now_s - self.last_life_s
        assert self._socket is not None
        try:
            if self._socket.recv(65536):
                self.last_life_s = now_s
                self._unanswered = 0
            else:
                self.close()  # it ended, or it threw us out: the next beat connects anew
                return now_s - self.last_life_s
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return now_s - self.last_life_s
        if self._unanswered < UNANSWERED_AT_MOST:
            with contextlib.suppress(OSError):
                self._socket.send(PING)
                self._unanswered += 1
        return now_s - self.last_life_s

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
