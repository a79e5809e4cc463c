"""Real servers for tests: the engines at hand, a state folder of its own for each test, and the command line on it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.live.forks import READ_AT_START, Forks
from tests.live.ports import Ports

from holdfast.engine.build import EngineBuild
from holdfast.engine.catalog import find_engines
from holdfast.engine.process import ProcessIdentity
from holdfast.host.belongings import users_of

ROOT = Path(__file__).resolve().parents[2]
ENGINES = ROOT / "build" / "test-state" / "engines"
"""Where `make test` puts the engines; the tests only read it."""
COMMAND_BOUND_S = 110
_FORKS = Forks()


def engines_at_hand() -> list[EngineBuild]:
    """Every engine that the tests can run on."""
    ENGINES.mkdir(mode=0o700, parents=True, exist_ok=True)
    return list(find_engines(ENGINES, {"PATH": ""}))


def engine_id(build: EngineBuild) -> str:
    """ "valkey-8.0": how tests and specs name it."""
    return f"{build.name}-{build.version[0]}.{build.version[1]}"


AT_HAND = {engine_id(build): build for build in engines_at_hand()}


@dataclass
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str
    took_s: float

    @property
    def facts(self) -> Any:
        """Its `--json`."""
        return json.loads(self.out)


@dataclass
class Bench:
    """A state folder, and Holdfast's command line working on it."""

    state: Path
    folder: Path
    """For spec files and the like."""
    environ: dict[str, str] = field(default_factory=dict)
    ports: Ports | None = None

    def run(
        self, *words: str, stdin: str = "", bound_s: float = COMMAND_BOUND_S, check: bool = False
    ) -> Outcome:
        """`holdfast words...`; with `check`, a failure fails the test with what was said."""
        began = time.monotonic()
        if any(name.startswith(READ_AT_START) for name in self.environ):
            done = subprocess.run(
                [sys.executable, "-m", "holdfast.cli.main", *words],
                env=self.environ,
                input=stdin,
                capture_output=True,
                text=True,
                timeout=bound_s,
                cwd=self.folder,
            )
            outcome = Outcome(done.returncode, done.stdout, done.stderr, time.monotonic() - began)
        else:
            ended = _FORKS.run(words, self.environ, self.folder, stdin, bound_s)
            outcome = Outcome(ended.code, ended.out, ended.err, time.monotonic() - began)
        if check and outcome.code != 0:
            pytest.fail(
                f"holdfast {' '.join(words)} ended with {outcome.code}:\n{outcome.out}\n{outcome.err}"
            )
        return outcome

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """The same in the background, in a session of its own (signals go to it alone)."""
        return subprocess.Popen(
            [sys.executable, "-m", "holdfast.cli.main", *words],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            start_new_session=True,
        )

    def spec(self, text: str, name: str = "cache.yaml") -> Path:
        """A spec file with that text."""
        path = self.folder / name
        path.write_text(text)
        return path

    def status(self, cache: str) -> Any:
        """`holdfast status --json`, whatever its exit code."""
        return self.run("status", cache, "--json").facts

    def record(self, cache: str) -> Any:
        """What the controller remembers of the cache's members."""
        return json.loads((self.state / "caches" / cache / "record.json").read_text())

    def pids(self, cache: str = "*") -> dict[str, int]:
        """Node -> pid of every process that a node file names and that is alive. Args: `cache`, where there are several."""
        return {node: pid for (_, node), pid in self._processes(cache).items()}

    def _processes(self, cache: str) -> dict[tuple[str, str], int]:
        """The same for each cache and node; files that a test has filled with garbage name nobody."""
        found = {}
        for file in self.state.glob(f"nodes/{cache}/*/node.json"):
            with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
                identity = ProcessIdentity.from_json(json.loads(file.read_text())["identity"])
                if ProcessIdentity.of(identity.pid) == identity:
                    found[file.parent.parent.name, file.parent.name] = identity.pid
        return found

    def close(self) -> None:
        """End the supervisor and every node of this state folder, each by its own pid."""
        lock = self.state / "supervisor" / "lock"
        holder = lock.read_text().strip() if lock.exists() else ""
        supervisor = ProcessIdentity.of(int(holder)) if holder.isdigit() else None
        if supervisor is not None and _is_supervisor(supervisor.pid):
            os.kill(supervisor.pid, 15)
            _gone(supervisor.pid)
            if ProcessIdentity.of(supervisor.pid) == supervisor:
                os.kill(supervisor.pid, 9)
                _gone(supervisor.pid)
        for pid in self._processes("*").values():
            os.kill(pid, 9)
            _gone(pid)
        # One that was just being started is in no node file yet: the kernel knows where it stands.
        for user in users_of(self.state / "nodes") if (self.state / "nodes").is_dir() else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(user.pid, 9)
                _gone(user.pid)
        if self.ports is not None:
            self.ports.release()
            self.ports = None


def _is_supervisor(pid: int) -> bool:
    try:
        return b"holdfast.supervisor" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _gone(pid: int, bound_s: float = 10.0) -> None:
    end = time.monotonic() + bound_s
    while ProcessIdentity.of(pid) is not None and time.monotonic() < end:
        time.sleep(0.01)


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A state folder of its own, short enough for Unix sockets, with all engines at hand in it."""
    made = make_bench()
    yield made
    made.close()
    shutil.rmtree(made.state.parent, ignore_errors=True)


def make_bench() -> Bench:
    """A bench to be closed and removed by the caller."""
    top = Path(tempfile.mkdtemp(prefix="hf-"))
    state, folder = top / "state", top / "work"
    state.mkdir(mode=0o700)
    folder.mkdir()
    (state / "engines").symlink_to(ENGINES)
    ports = Ports.claim()
    environ = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "HOLDFAST_STATE": str(state),
        "LC_ALL": "C.UTF-8",
        "HOLDFAST_FIRST_PORT": str(ports.first),
    }
    return Bench(state, folder, environ, ports)


def until(look: Callable[[], Any], bound_s: float = 40.0, every_s: float = 0.05) -> Any:
    """What `look` returns once that is true; the test fails when it is not within `bound_s`.

    Args: `bound_s`, less than a busy machine may need only where that is what is tested.
    """
    end = time.monotonic() + bound_s
    while not (found := look()):
        if time.monotonic() > end:
            pytest.fail(f"not reached within {bound_s:g} s: {look}")
        time.sleep(every_s)
    return found


def need(engine: str) -> EngineBuild:
    """The engine of that name; the test is skipped by name where it is not at hand."""
    if engine not in AT_HAND:
        pytest.skip(f"{engine} is not at hand: make test fetches it")
    return AT_HAND[engine]
