"""A state folder of its own for one measurement, Holdfast's command line working on it, and its orderly end.

Nothing of the user's own caches is touched: another state folder, other cache names, other ports. Whatever happens in
between, `close` ends the supervisor and every node by its own pid, and removes the folder.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.engine.build import EngineBuild
from holdfast.engine.catalog import find_engines
from holdfast.engine.process import ProcessIdentity

ROOT = Path(__file__).resolve().parents[1]
TEST_STATE = ROOT / "build" / "test-state"
COMMAND_BOUND_S = 180.0
END_BOUND_S = 15.0


@dataclass(frozen=True)
class Outcome:
    """What a command said, and how long it took."""

    code: int
    out: str
    took_s: float

    @property
    def facts(self) -> Any:
        """Its `--json`."""
        return json.loads(self.out)


@dataclass(frozen=True)
class ToldStep:
    """A step of `holdfast up`, as the command told it."""

    title: str
    began: float
    """On the monotonic clock of this machine, as all instants here."""
    ended: float

    @property
    def took_s(self) -> float:
        return self.ended - self.began


@dataclass(frozen=True)
class ToldUp:
    """One `holdfast up` in text, with when each step began and ended."""

    began: float
    ended: float
    steps: tuple[ToldStep, ...]

    @property
    def took_s(self) -> float:
        return self.ended - self.began


class CommandFailed(RuntimeError):
    """A command of a measurement did not end as it has to; the measurement is void."""


@dataclass(frozen=True)
class Workshop:
    """A state folder and a folder for files."""

    state: Path
    folder: Path

    @property
    def environ(self) -> dict[str, str]:
        """Of every command here: little of the caller's own environment, so that runs are alike."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder),
            "HOLDFAST_STATE": str(self.state),
            "LC_ALL": "C.UTF-8",
        }

    @contextmanager
    def as_own_state(self) -> Iterator[None]:
        """Have this process itself work on the shop's state folder, where a command's start would take too long."""
        before = os.environ.get("HOLDFAST_STATE")
        os.environ["HOLDFAST_STATE"] = str(self.state)
        try:
            yield
        finally:
            if before is None:
                del os.environ["HOLDFAST_STATE"]
            else:
                os.environ["HOLDFAST_STATE"] = before

    def holdfast(
        self, *words: str, bound_s: float = COMMAND_BOUND_S, good: tuple[int, ...] = (0,)
    ) -> Outcome:
        """`holdfast words...`. Raises: CommandFailed when it ends with another code than the good ones."""
        began = time.monotonic()
        done = subprocess.run(
            [*holdfast_program(), *words],
            env=self.environ,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=bound_s,
            check=False,
        )
        took_s = time.monotonic() - began
        if done.returncode not in good:
            said = done.stderr.strip() or done.stdout[-2000:]
            raise CommandFailed(f"holdfast {' '.join(words)} ended with {done.returncode}: {said}")
        return Outcome(done.returncode, done.stdout, took_s)

    def told_up(self, spec: Path, bound_s: float = COMMAND_BOUND_S) -> ToldUp:
        """`holdfast up SPEC` in text, each of its lines stamped when it comes. Raises: CommandFailed."""
        began = time.monotonic()
        process = subprocess.Popen(
            [*holdfast_program(), "up", str(spec)],
            env=self.environ,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        lines: list[tuple[float, str]] = []
        signal.signal(signal.SIGALRM, _too_late)
        signal.setitimer(signal.ITIMER_REAL, bound_s)
        try:
            lines.extend((time.monotonic(), line.rstrip()) for line in process.stdout or ())
            code = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        ended = time.monotonic()
        if code != 0:
            raise CommandFailed(
                f"holdfast up {spec} ended with {code}: {' / '.join(line for _, line in lines[-5:])}"
            )
        return ToldUp(began, ended, tuple(_steps(lines)))

    def status(self, cache: str) -> Any:
        """`holdfast status --json` of a cache that is whole. Raises: CommandFailed when it is not."""
        return self.holdfast("status", cache, "--json").facts

    def close(self) -> None:
        """End every cache, the supervisor and every node that is left, and remove both folders."""
        caches = self.state / "caches"
        for cache in sorted(caches.iterdir()) if caches.is_dir() else ():
            try:
                self.holdfast("down", cache.name, "--delete-data", "--yes", good=(0, 1, 2))
            except (subprocess.TimeoutExpired, CommandFailed) as failed:
                print(f"  not taken down in order: {failed}", file=sys.stderr)
        for pid in self._supervisor_pids():
            _end(pid, signal.SIGTERM)
        for pid in self._node_pids():
            _end(pid, signal.SIGKILL)
        shutil.rmtree(self.state.parent, ignore_errors=True)

    def _supervisor_pids(self) -> Iterator[int]:
        lock = self.state / "supervisor" / "lock"
        said = lock.read_text().strip() if lock.exists() else ""
        if said.isdigit():
            try:
                command = Path(f"/proc/{said}/cmdline").read_bytes()
                environ = Path(f"/proc/{said}/environ").read_bytes()
            except OSError:
                return
            # The pid may be another program's by now, or another state folder's supervisor.
            if b"holdfast.supervisor" in command and os.fsencode(self.state) in environ:
                yield int(said)

    def _node_pids(self) -> Iterator[int]:
        for file in self.state.glob("nodes/*/*/node.json"):
            identity = json.loads(file.read_text())["identity"]
            if identity and ProcessIdentity.of(identity["pid"]) == ProcessIdentity.from_json(identity):
                yield identity["pid"]


@contextmanager
def workshop() -> Iterator[Workshop]:
    """A new one with the fetched engines in it, closed at the end however that comes."""
    made = Workshop(*_folders())
    try:
        yield made
    finally:
        made.close()


def _folders() -> tuple[Path, Path]:
    """Short paths: a Unix socket's may have 107 bytes."""
    top = Path(tempfile.mkdtemp(prefix="hfb-"))
    state, folder = top / "state", top / "work"
    state.mkdir(mode=0o700)
    folder.mkdir()
    (state / "engines").symlink_to(TEST_STATE / "engines")
    return state, folder


def engines_at_hand() -> dict[str, EngineBuild]:
    """The engines that can be measured, by the name that people and specs use: "valkey-8.0"."""
    found = find_engines(TEST_STATE / "engines", {"PATH": ""})
    return {f"{build.name}-{build.version[0]}.{build.version[1]}": build for build in found}


def fetch_engines() -> None:
    """Put every engine that can be had beside those that the tests use; best effort."""
    TEST_STATE.mkdir(mode=0o700, parents=True, exist_ok=True)
    environ = os.environ | {"HOLDFAST_STATE": str(TEST_STATE)}
    command = [*holdfast_program(), "engines", "add", "--all", "--best-effort"]
    subprocess.run(command, env=environ, check=False, timeout=900)


def holdfast_program() -> list[str]:
    """The console script as people start it, where this Python has it."""
    script = Path(sys.executable).with_name("holdfast")
    return [str(script)] if script.exists() else [sys.executable, "-m", "holdfast.cli.main"]


def say(text: str) -> None:
    """One line of progress."""
    print(f"  {text}", flush=True)


def engine_lines(name: str) -> str:
    """The part of a spec that asks for exactly that engine: "valkey-8.0"."""
    engine, _, version = name.rpartition("-")
    return f'engine: {{name: {engine}, version: "{version}"}}\n'


def _steps(lines: list[tuple[float, str]]) -> Iterator[ToldStep]:
    """A step ends when the next line comes, whatever that is about."""
    for (began, line), (ended, _) in zip(lines, [*lines[1:], lines[-1]], strict=True):
        stamp, unit, title = line.strip().partition(" s  ")
        if unit and stamp.replace(".", "", 1).isdigit():
            yield ToldStep(title, began, ended)


def _too_late(number: int, frame: object) -> None:
    raise CommandFailed("holdfast up took longer than its bound and was ended")


def _end(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
    end = time.monotonic() + END_BOUND_S
    while ProcessIdentity.of(pid) is not None and time.monotonic() < end:
        time.sleep(0.01)
    if ProcessIdentity.of(pid) is not None and number != signal.SIGKILL:
        os.kill(pid, signal.SIGKILL)
