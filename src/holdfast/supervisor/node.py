"""One node on this machine: its order, its process, what became of it, kept in node.json beside its files."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from holdfast.engine.build import EngineBuild
from holdfast.engine.cluster_file import with_shards_agreed
from holdfast.engine.config import CLUSTER_STATE_NAME
from holdfast.engine.connection import Credentials, Endpoint, EngineNode, TlsTrust
from holdfast.engine.datafiles import look_at_files
from holdfast.engine.log import LogLimits, rotate, tail
from holdfast.engine.process import Launch, ProcessIdentity, ServerProcess
from holdfast.state import NotWritten, socket_address, write_private
from holdfast.supervisor import protocol
from holdfast.topology.hosts import NodeOrder
from holdfast.topology.record import Kind
from holdfast.topology.seen import ProcessState, SeenProcess

FILE = "node.json"
SOCKET = "node.sock"
PROBE_BOUND_S = 2.0


class ManagedNode:
    """A node that this machine was told to run. Used inside one event loop."""

    def __init__(self, folder: Path, order: NodeOrder) -> None:
        self.folder = folder
        self.order = order
        self._identity: ProcessIdentity | None = None
        self._command: tuple[str, ...] = ()
        self._process: ServerProcess | None = None
        self._asked_to_stop = False
        self._why = ""
        self._turn = asyncio.Lock()
        self._watch: asyncio.Task[None] | None = None
        self.on_end: Callable[[str, float], None] | None = None
        """Told of an end that nobody asked for: why, and when (monotonic)."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """A node as an earlier supervisor left it. Raises: OSError, ValueError, KeyError, TypeError."""
        kept = json.loads((folder / FILE).read_bytes())
        node = cls(folder, protocol.order_from_json(kept["order"]))
        node._identity = ProcessIdentity.from_json(kept["identity"]) if kept["identity"] else None
        node._command = tuple(kept["command"])
        node._asked_to_stop = kept["asked_to_stop"]
        node._why = kept["why"]
        return node

    def save(self) -> None:
        """Write node.json; the files' contents are not in it, they lie beside it."""
        order = protocol.order_to_json(replace(self.order, files=()))
        kept = {
            "order": order,
            "identity": self._identity.to_json() if self._identity else None,
            "command": list(self._command),
            "asked_to_stop": self._asked_to_stop,
            "why": self._why,
        }
        write_private(self.folder / FILE, json.dumps(kept, indent=1))

    def adopt(self) -> None:
        """Take up the process of an earlier supervisor where it still runs; a reused pid is not mistaken for it."""
        if self._identity is None or self._asked_to_stop:
            return
        self._process = ServerProcess.adopt(self._launch(), self._identity)
        if self._process is None:
            self._identity = None
            self._why = self._why or "it ended while no supervisor watched"
            with contextlib.suppress(NotWritten):
                self.save()
        else:
            self._watch = asyncio.create_task(self._await_end(self._process))

    def let_go(self) -> None:
        """Stop watching; the process runs on."""
        if self._watch is not None:
            self._watch.cancel()
        if self._process is not None:
            self._process.let_go()

    def seen(self) -> SeenProcess:
        """What became of its process."""
        if self._process is not None and self._process.running:
            return SeenProcess(ProcessState.RUNNING, self._process.pid)
        files = None
        if self.order.kind is Kind.SERVER and self._launch().log_path.exists():
            files = look_at_files(self.folder, self.order.config)
        if self._asked_to_stop or not self._why:
            return SeenProcess(ProcessState.STOPPED, files=files)
        return SeenProcess(ProcessState.EXITED, 0, self._why, files)

    async def start(self, build: EngineBuild) -> str:
        """Start it unless it runs, and wait until it answers and has loaded its data.

        Returns: what it could not load and went on without; empty when nothing.
        Raises: NodeRefusedToStart, NodeNotReady; in the second case it runs on.
        """
        async with self._turn:
            if self._process is None or not self._process.running:
                self._command = build.command
                self._asked_to_stop = False
                self._why = ""
                (self.folder / SOCKET).unlink(missing_ok=True)
                self._agree_on_shards()
                try:
                    self._process = await ServerProcess.start(self._launch())
                except BaseException as failed:
                    self._why = str(failed)
                    with contextlib.suppress(NotWritten):
                        self.save()
                    raise
                self._identity = self._process.identity
                try:
                    self.save()
                except NotWritten:  # nobody could find it again
                    await self._process.kill()
                    self._identity = None
                    raise
                self._watch = asyncio.create_task(self._await_end(self._process))
            await self._process.wait_ready(self._ping)
            return self._process.left_out()

    async def stop(self) -> None:
        """Have it end by itself, and kill it when it does not."""
        async with self._turn:
            self._asked_to_stop = True
            with contextlib.suppress(NotWritten):  # a full disk must not keep a node from being stopped
                self.save()
            if self._process is not None:
                await self._process.stop()
            self._identity = None
            with contextlib.suppress(NotWritten):
                self.save()

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone. Raises: NodeWillNotDie."""
        if self._process is not None and self._process.running:
            await self._process.kill()

    async def ask(self, words: Sequence[str]) -> Any:
        """One command through its own socket. Raises: NodeGone and its siblings."""
        async with await self._connect() as connection:
            return await connection.ask(*words)

    def log(self, lines: int) -> tuple[str, ...]:
        return tuple(tail(self._launch().log_path, lines))

    def rotate(self) -> None:
        """Keep the log within bounds. Raises: OSError."""
        rotate(self._launch().log_path, LogLimits())

    def _agree_on_shards(self) -> None:
        """Of its memory of its cluster, what its engine would take for damage. A file that cannot be read is the engine's
        to complain of.
        """
        file = self.folder / CLUSTER_STATE_NAME
        with contextlib.suppress(OSError, NotWritten, UnicodeDecodeError):
            kept = file.read_text()
            if (agreed := with_shards_agreed(kept)) != kept:
                write_private(file, agreed)

    def _launch(self) -> Launch:
        return Launch(
            node=self.order.node,
            command=self._command,
            folder=self.folder,
            config_name=self.order.config,
            sentinel=self.order.kind is Kind.SENTINEL,
        )

    async def _ping(self) -> None:
        async with await self._connect() as connection:
            await connection.ask("PING")

    async def _connect(self) -> EngineNode:
        who = Credentials(self.order.probe_user, self.order.probe_password) if self.order.probe_user else None
        if self.order.kind is Kind.SENTINEL:
            ca = self.folder / "ca.pem"
            tls = TlsTrust(str(ca)) if ca.exists() else None
            endpoint = Endpoint(self.order.address, self.order.port, who, tls)
            return await EngineNode.connect(endpoint, timeout_s=PROBE_BOUND_S)
        with socket_address(self.folder / SOCKET) as path:
            endpoint = Endpoint("", 0, who, socket=path)
            return await EngineNode.connect(endpoint, timeout_s=PROBE_BOUND_S)

    async def _await_end(self, process: ServerProcess) -> None:
        await process.ended()
        at_s = time.monotonic()
        if self._process is process and not self._asked_to_stop:
            at = datetime.now(UTC).isoformat(timespec="seconds")
            self._why = f"{process.why_it_ended()} (at {at})"
            self._identity = None
            if self.on_end is not None:
                self.on_end(self._why, at_s)  # before the disk is touched: a failover counts milliseconds
            with contextlib.suppress(NotWritten):
                self.save()
