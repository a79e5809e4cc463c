"""Runs Holdfast's commands in forks of one process that has them imported already.

A command is a process of its own with its own environment, folder, streams and exit code, as it is for people. But half a
second of processor time, nearly all of what a short command takes, goes into importing; a thousand commands of the tests pay
it once. Started for itself is what `Bench.begin` starts, and a command whose environment the linker or Python reads.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import holdfast

READY_S = 60.0
READ_AT_START = ("LD_", "PYTHON", "GLIBC_", "MALLOC_")
"""Beginnings of variables that act before `main` does: a fork would not notice them."""


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str


class Forks:
    """The process that is forked; started when first asked, gone with this one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._path = ""

    def run(
        self, words: Sequence[str], environ: Mapping[str, str], folder: Path, stdin: str, bound_s: float
    ) -> Ended:
        """`holdfast words...` in that environment and folder, with that input.

        Raises: subprocess.TimeoutExpired, with the command killed, when it or what holds its streams lasts longer.
        """
        end = time.monotonic() + bound_s
        inner, outer = _pipes()
        read = [_Reader(outer[1]), _Reader(outer[2])]
        with socket.socket(socket.AF_UNIX) as asked, contextlib.ExitStack() as opened:
            asked.connect(self._reached())
            order = {"words": list(words), "environ": dict(environ), "folder": str(folder)}
            socket.send_fds(asked, [b"f"], list(inner))
            asked.sendall(json.dumps(order).encode() + b"\n")
            for handle in inner:
                os.close(handle)
            said = opened.enter_context(asked.makefile("r"))
            pid = int(said.readline())
            threading.Thread(target=_write, args=(outer[0], stdin), daemon=True).start()
            asked.settimeout(max(0.1, end - time.monotonic()))
            try:
                code = int(said.readline())
                for stream in read:
                    stream.join(max(0.1, end - time.monotonic()))
                if any(stream.is_alive() for stream in read):
                    raise TimeoutError
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(["holdfast", *words], bound_s) from None
        return Ended(code, *(stream.text() for stream in read))

    def _reached(self) -> str:
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._path = str(Path(tempfile.mkdtemp(prefix="hff-")) / "socket")
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "tests.live.forks", self._path],
                    stdin=subprocess.PIPE,  # closed with this process, which ends it
                    stdout=subprocess.PIPE,
                    cwd=Path(__file__).resolve().parents[2],
                    env=os.environ | {"LC_ALL": "C.UTF-8"},
                )
                assert self._process.stdout is not None
                assert self._process.stdout.readline() == b"ready\n", (
                    "what commands are forked from did not start"
                )
                atexit.register(self.close)
            return self._path

    def close(self) -> None:
        """End it."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait(READY_S)
            self._process = None


class _Reader(threading.Thread):
    """Reads one stream to its end, so that a full pipe holds nothing up."""

    def __init__(self, handle: int) -> None:
        super().__init__(daemon=True)
        self._handle = handle
        self._bytes = b""
        self.start()

    def run(self) -> None:
        with os.fdopen(self._handle, "rb") as stream:
            self._bytes = stream.read()

    def text(self) -> str:
        return self._bytes.decode()


def _pipes() -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """The command's ends and ours, of stdin, stdout and stderr."""
    theirs_in, ours_in = os.pipe()
    ours_out, theirs_out = os.pipe()
    ours_err, theirs_err = os.pipe()
    return (theirs_in, theirs_out, theirs_err), (ours_in, ours_out, ours_err)


def _write(handle: int, text: str) -> None:
    with contextlib.suppress(BrokenPipeError), os.fdopen(handle, "wb") as stream:
        stream.write(text.encode())


# What follows runs in the process that is forked.


def serve(path: str) -> None:
    """Answer at a Unix socket until stdin ends: each connection is one command."""
    _import_all()
    assert threading.active_count() == 1, "a thread does not survive a fork"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    gc.collect()
    gc.freeze()
    with selectors.DefaultSelector() as ready:
        ready.register(listener, selectors.EVENT_READ)
        ready.register(sys.stdin, selectors.EVENT_READ)
        while all(key.fileobj is listener for key, _ in ready.select()):
            asked, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _attend(asked)
            asked.close()
    listener.close()
    Path(path).unlink()
    Path(path).parent.rmdir()


def _attend(asked: socket.socket) -> NoReturn:
    """Have the command done by a child, tell its pid and then how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, handles, _, _ = socket.recv_fds(asked, 1, 3)
    with asked.makefile("r") as said:
        order = json.loads(said.readline())
    pid = os.fork()
    if pid == 0:
        for place, handle in enumerate(handles):
            os.dup2(handle, place)
        os.closerange(3, 256)
        _become(order)
    for handle in handles:
        os.close(handle)
    with contextlib.suppress(OSError):  # who asked is gone
        asked.sendall(f"{pid}\n".encode())
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        asked.sendall(f"{code}\n".encode())
    os._exit(0)


def _become(order: Mapping[str, list[str] | dict[str, str] | str]) -> NoReturn:
    """Be `python -m holdfast.cli.main words...`, to the end of the process."""
    from holdfast.cli import main

    signal.signal(signal.SIGINT, signal.default_int_handler)
    environ, folder, words = order["environ"], order["folder"], order["words"]
    assert isinstance(environ, dict)
    assert isinstance(folder, str)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    time.tzset()
    sys.argv = [str(main.__file__), *words]
    sys.stdin = io.TextIOWrapper(io.FileIO(0), "utf-8", "surrogateescape")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "wb")), "utf-8", "surrogateescape")
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(2, "wb")), "utf-8", "backslashreplace", line_buffering=True
    )
    try:
        main.main()
        code: object = 0
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
        code = 1
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(code if isinstance(code, int) else code is not None)


def _import_all() -> None:
    """Every module that a command may need, and the one model whose validator takes long to make."""
    own = (
        "cli",
        "codec",
        "compare",
        "engine",
        "host",
        "jobs",
        "load",
        "migrate",
        "prove",
        "spec",
        "supervisor",
        "topology",
    )
    for module in pkgutil.walk_packages(holdfast.__path__, "holdfast."):
        if module.name.split(".")[1] in own and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    from holdfast.cli.main import register
    from holdfast.spec.cache import Spec

    register()
    Spec.model_validate({"cache": {"name": "first"}})


if __name__ == "__main__":
    serve(sys.argv[1])
