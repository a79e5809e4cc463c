"""Load without pause on one server: `python -m benchmarks.failover_load HOST PORT USER PASSWORD_FILE PREFIX` until SIGTERM.

Pipelines of SETs, packed once and sent again and again, so that the server works and not Python.
"""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path

KEYS = 2_000
VALUE = b"x" * 200
BOUND_S = 60.0


def main() -> int:
    host, port, user, password_file, prefix = sys.argv[1:6]
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    login = _packed("AUTH", user, Path(password_file).read_text().strip())
    batch = b"".join(_packed("SET", f"{prefix}:{number}", VALUE) for number in range(KEYS))
    sent = 0
    with socket.create_connection((host, int(port)), timeout=BOUND_S) as server:
        server.sendall(login)
        if not server.recv(100).startswith(b"+OK"):
            print("the server does not let the load in", file=sys.stderr)
            return 1
        while not stopped:
            server.sendall(batch)
            lacking = KEYS
            while lacking > 0:
                answer = server.recv(1 << 16)
                if not answer:
                    print("the server closed the connection", file=sys.stderr)
                    return 1
                lacking -= answer.count(b"\n")
            sent += KEYS
    print(sent)
    return 0


def _packed(*words: str | bytes) -> bytes:
    parts = [word.encode() if isinstance(word, str) else word for word in words]
    return b"".join([b"*%d\r\n" % len(parts), *(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)])


if __name__ == "__main__":
    sys.exit(main())
