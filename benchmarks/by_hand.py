"""The peer: the same servers with the same rendered files, started by hand and made a cluster by the engine's own tool.

They have no TLS and no users, which spares them handshakes and checks that Holdfast's nodes do; the tables say so.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from benchmarks.engine_cli import EngineCli
from holdfast.engine.build import EngineBuild
from holdfast.engine.config import SAVE_RULES_ON_ONE_LINE, server_directives
from holdfast.engine.directive import render
from holdfast.engine.facts import NodeFacts
from holdfast.spec.cache import Spec
from holdfast.supervisor.ports import free_ports

HOST = "127.0.0.1"
FIRST_PORT = 21_000
LEFT_OUT = frozenset({"aclfile", "acl-pubsub-default"})
READY_BOUND_S = 120.0
LOOK_EVERY_S = 0.01


class NotByHand(RuntimeError):
    """What is measured beside Holdfast did not work; its row says so."""


@dataclass
class ByHand:
    """Servers of one cluster, each our own child."""

    spec: Spec
    build: EngineBuild
    cli: EngineCli
    folder: Path
    ports: list[int] = field(default_factory=list)
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _clients: dict[int, redis.Redis] = field(default_factory=dict)

    def start(self, count: int) -> list[int]:
        """Start that many more servers and wait until each answers; returns their ports."""
        first = max(self.ports, default=FIRST_PORT - 1) + 1
        added = list(free_ports([HOST], count, first, (), cluster=True))
        for port in added:
            home = self.folder / str(port)
            home.mkdir(mode=0o700)
            (home / "server.conf").write_text(self._config(port, home))
            with (home / "out").open("wb") as out:
                self._processes.append(
                    subprocess.Popen(
                        [*self.build.command, str(home / "server.conf")],
                        stdin=subprocess.DEVNULL,
                        stdout=out,
                        stderr=out,
                        cwd=home,
                    )
                )
        self.ports += added
        for port in added:
            _until(lambda port=port: self._answers(port), f"the server on {port} answers")  # type: ignore[misc]
        return added

    def client(self, port: int) -> redis.Redis:
        """A connection pool to one server."""
        if port not in self._clients:
            self._clients[port] = redis.Redis(HOST, port, decode_responses=True, socket_timeout=10)
        return self._clients[port]

    def ask(self, port: int, *words: str) -> Any:
        """One command to one server."""
        return self.client(port).execute_command(*words)  # type: ignore[no-untyped-call]

    def run_cli(self, *words: str, bound_s: float) -> None:
        """The engine's tool. Raises: NotByHand when it fails."""
        try:
            done = self.cli.run(*words, bound_s=bound_s)
        except subprocess.TimeoutExpired:
            raise NotByHand(f"{self.cli.title} {words[1]} took longer than {bound_s:g} s") from None
        if done.returncode != 0 or "[ERR]" in done.stdout:
            said = " / ".join((done.stdout + done.stderr).strip().splitlines()[-3:])
            raise NotByHand(f"{self.cli.title} {words[1]} failed: {said}")

    def create(self, replicas: int) -> None:
        """`--cluster create` of all servers, then wait until they are settled."""
        addresses = [f"{HOST}:{port}" for port in self.ports]
        self.run_cli(
            "--cluster",
            "create",
            *addresses,
            "--cluster-replicas",
            str(replicas),
            "--cluster-yes",
            bound_s=READY_BOUND_S,
        )
        self.settle()

    def settle(self) -> None:
        """Wait until every server says that the cluster is ok, knows all, and every replica is in sync."""
        _until(self._settled, "the cluster is ok and every replica in sync")

    def agree(self) -> None:
        """Wait until every server knows all the others."""
        _until(
            lambda: all(self._known(port) == len(self.ports) for port in self.ports),
            "every server knows all others",
        )

    def close(self) -> None:
        """End every server; they are our own children, so no pid can be another's."""
        for client in self._clients.values():
            client.close()
        for process in self._processes:
            process.send_signal(signal.SIGKILL)
        for process in self._processes:
            process.wait(timeout=30)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _config(self, port: int, home: Path) -> str:
        facts = NodeFacts(
            cache=self.spec.cache.name,
            node=str(port),
            zone="local",
            address=HOST,
            bind=(HOST,),
            port=port,
            folder=str(home),
        )
        kept = [each for each in server_directives(self.spec, self.build, facts) if each.name not in LEFT_OUT]
        return render(kept, "", save_rule_per_line=self.build.version < SAVE_RULES_ON_ONE_LINE)

    def _answers(self, port: int) -> bool:
        process = self._processes[self.ports.index(port)]
        if process.poll() is not None:
            said = (self.folder / str(port) / "server.log").read_text(errors="replace").splitlines()[-2:]
            raise NotByHand(f"the server on {port} ended at its start: {' / '.join(said)}")
        try:
            return bool(self.ask(port, "PING"))
        except redis.RedisError:
            return False

    def _known(self, port: int) -> int:
        return int(self._cluster_info(port).get("cluster_known_nodes", 0))

    def _cluster_info(self, port: int) -> dict[str, str]:
        said = self.ask(port, "CLUSTER INFO")
        if isinstance(said, dict):
            return {str(name): str(value) for name, value in said.items()}
        return dict(line.partition(":")[::2] for line in str(said).split())

    def _settled(self) -> bool:
        for port in self.ports:
            info = self._cluster_info(port)
            if info.get("cluster_state") != "ok" or int(info["cluster_known_nodes"]) != len(self.ports):
                return False
        replicas = self.spec.topology.replicas
        for port in self.ports:
            replication = self.client(port).info("replication")
            if replication["role"] == "slave":
                if replication["master_link_status"] != "up" or replication["master_sync_in_progress"]:
                    return False
            elif _online(replication) != replicas:
                return False
        return True


@contextmanager
def by_hand(spec: Spec, build: EngineBuild, cli: EngineCli) -> Iterator[ByHand]:
    """Servers to come, all ended when the block is left."""
    made = ByHand(spec, build, cli, Path(tempfile.mkdtemp(prefix="hfb-")))
    try:
        yield made
    finally:
        made.close()


def _online(replication: dict[str, Any]) -> int:
    return sum(
        1
        for name, value in replication.items()
        if name.startswith("slave") and isinstance(value, dict) and value.get("state") == "online"
    )


def _until(reached: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + READY_BOUND_S
    while not reached():
        if time.monotonic() > end:
            raise NotByHand(f"not within {READY_BOUND_S:g} s: {what}")
        time.sleep(LOOK_EVERY_S)
