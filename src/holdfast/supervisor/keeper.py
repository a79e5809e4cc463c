"""Keeps one machine's nodes: their files, their processes, and what became of them, across its own restarts."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast.engine.build import EngineBuild
from holdfast.engine.catalog import survey
from holdfast.engine.connection import Credentials, TlsTrust
from holdfast.engine.datafiles import drop_snapshot, put_aside
from holdfast.state import StateFolder, private_folder, write_private
from holdfast.supervisor import acl_watch, protocol
from holdfast.supervisor.acl_watch import AclWatch
from holdfast.supervisor.doors import Doors
from holdfast.supervisor.events import Events
from holdfast.supervisor.guarded import GuardedNode
from holdfast.supervisor.guardian import Guardian
from holdfast.supervisor.node import ManagedNode
from holdfast.supervisor.ports import first_port, free_ports
from holdfast.supervisor.quorum import Quorum
from holdfast.supervisor.refusals import (
    EngineGone,
    NameNotAllowed,
    NodeFileUnreadable,
    NoMachineOf,
    NoSuchNode,
    SnapshotKept,
)
from holdfast.topology.hosts import HostFacts, NodeOrder, WatchOrder
from holdfast.topology.observe import Access
from holdfast.topology.record import CacheRecord
from holdfast.topology.seen import ProcessState, SeenProcess

NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")
FILE = re.compile(r"[a-z][a-z0-9._-]{0,63}")
ROTATE_EVERY_S = 60.0
WATCH = "watch.json"


class Keeper:
    """All nodes of this machine. Made inside the event loop it is used in."""

    def __init__(self, state: StateFolder, environ: Mapping[str, str], host: str, pid: int) -> None:
        self.state = state
        self.environ = environ
        self._host = host
        self._pid = pid
        self._nodes: dict[tuple[str, str], ManagedNode] = {}
        self._builds: dict[str, EngineBuild] = {}
        self._unreadable: dict[tuple[str, str], str] = {}
        """Nodes whose node.json is none: their processes, if any, cannot be found."""
        self._promised: set[int] = set()
        self._rotating: asyncio.Task[None] | None = None
        self._guardians: dict[str, Guardian] = {}
        self._acl_watches: dict[str, AclWatch] = {}
        self.events = Events(state.supervisor)

    async def begin(self) -> None:
        """Take up the nodes of an earlier supervisor: those that run are adopted, the others are what they are."""
        if self.state.nodes.is_dir():
            for file in sorted(self.state.nodes.glob("*/*/node.json")):
                try:
                    node = ManagedNode.load(file.parent)
                except (OSError, ValueError) as failed:
                    self._unreadable[file.parent.parent.name, file.parent.name] = str(failed)
                    continue
                except (KeyError, TypeError, AttributeError):
                    words = "it holds something else than a node's order and process"
                    self._unreadable[file.parent.parent.name, file.parent.name] = words
                    continue
                self._nodes[node.order.cache, node.order.node] = node
                node.adopt()
        for file in sorted(self.state.nodes.glob(f"*/{WATCH}")):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                order = protocol.watch_from_json(json.loads(file.read_bytes()))
                await self._begin_watch(order)
                self._see_to_the_ended(order.cache)
        self._rotating = asyncio.create_task(self._rotate())

    async def end(self) -> None:
        """Stop watching; nodes run on."""
        if self._rotating is not None:
            self._rotating.cancel()
        for watch in self._acl_watches.values():
            await watch.end()
        for guardian in self._guardians.values():
            await guardian.end()
        for node in self._nodes.values():
            node.let_go()

    def facts(self) -> HostFacts:
        return HostFacts(name=self._host, pid=self._pid, version=protocol.SPOKEN, state=str(self.state.path))

    def caches(self) -> tuple[str, ...]:
        """Names of the caches that have nodes here."""
        return tuple(sorted({cache for cache, _ in self._nodes}))

    def processes(self, cache: str) -> dict[str, SeenProcess]:
        """What became of each node's process."""
        lost = {
            node: SeenProcess(ProcessState.UNKNOWN, why=f"its node.json cannot be read ({words})")
            for (owner, node), words in self._unreadable.items()
            if owner == cache
        }
        return lost | {node: each.seen() for (owner, node), each in self._nodes.items() if owner == cache}

    def free_ports(
        self, addresses: Sequence[str], count: int, first: int | None, *, cluster: bool
    ) -> tuple[int, ...]:
        """Free ports, promised from now on to whoever asked until this supervisor ends."""
        taken = {port for node in self._nodes.values() for port in (node.order.port, node.order.bus_port)}
        start = first or first_port(self.environ)
        found = free_ports(addresses, count, start, taken | self._promised, cluster=cluster)
        self._promised |= set(found)
        return found

    def prepare(self, order: NodeOrder) -> None:
        """Write the node's files, all 0600, and what must be known to start it."""
        for name in (order.cache, order.node):
            if not NAME.fullmatch(name):
                raise NameNotAllowed(name)
        folder = self._folder(order.cache, order.node)
        for file in order.files:
            if not FILE.fullmatch(file.name) or file.name == "node.json":
                raise NameNotAllowed(file.name)
        self._refuse_unreadable(order.cache, order.node)
        private_folder(folder)
        for file in order.files:
            write_private(folder / file.name, file.text)
        known = self._nodes.get((order.cache, order.node))
        if known is None:
            self._nodes[order.cache, order.node] = ManagedNode(folder, order)
        else:
            known.order = order
        self._nodes[order.cache, order.node].save()

    def read(self, cache: str, node: str, file: str) -> str:
        """A file of the node; empty where there is none."""
        if not FILE.fullmatch(file):
            raise NameNotAllowed(file)
        path = self._node(cache, node).folder / file
        return path.read_text(errors="replace") if path.is_file() else ""

    async def start(self, cache: str, node: str) -> str:
        managed = self._node(cache, node)
        return await managed.start(await self._build(managed.order))

    def _refuse_unreadable(self, cache: str, node: str) -> None:
        """Raises: NodeFileUnreadable."""
        if words := self._unreadable.get((cache, node)):
            raise NodeFileUnreadable(node, str(self.state.nodes / cache / node / "node.json"), words)

    async def stop(self, cache: str, node: str) -> None:
        self._refuse_unreadable(cache, node)
        if (cache, node) in self._nodes:
            await self._nodes[cache, node].stop()

    async def put_aside(self, cache: str, node: str, label: str) -> str:
        """Move a node's data files into a folder of its own; empty when there are none. Of one that runs only the
        snapshot, which it does not need before its next start.
        """
        managed = self._node(cache, node)
        if not NAME.fullmatch(label):
            raise NameNotAllowed(label)
        runs = managed.seen().state is ProcessState.RUNNING
        return await asyncio.to_thread(put_aside, managed.folder, label, snapshot_only=runs)

    def drop_snapshot(self, cache: str, node: str) -> None:
        """Delete the snapshot of a node whose file says that it keeps nothing on disk. Raises: SnapshotKept."""
        managed = self._node(cache, node)
        if not drop_snapshot(managed.folder, managed.order.config):
            raise SnapshotKept(node)

    async def remove(self, cache: str, node: str) -> None:
        """Delete a node's folder; it is stopped first."""
        self._refuse_unreadable(cache, node)
        managed = self._nodes.get((cache, node))
        if managed is None:
            return
        await managed.stop()
        await asyncio.to_thread(shutil.rmtree, managed.folder)
        del self._nodes[cache, node]
        self._promised -= {managed.order.port, managed.order.bus_port}
        if not any(owner == cache for owner, _ in self._nodes):
            await self.unwatch(cache)
            for left in ("ca.pem", acl_watch.FILE):
                (managed.folder.parent / left).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            managed.folder.parent.rmdir()  # the last node of its cache

    async def ask(self, cache: str, node: str, words: Sequence[str]) -> Any:
        """One command to a node through its Unix socket."""
        return await self._node(cache, node).ask(words)

    async def watch(self, order: WatchOrder) -> None:
        """Watch over the cache's nodes here, also after the supervisor itself was started anew."""
        if not NAME.fullmatch(order.cache):
            raise NameNotAllowed(order.cache)
        await self._end_watch(order.cache)
        folder = private_folder(private_folder(self.state.nodes) / order.cache)
        write_private(folder / WATCH, json.dumps(protocol.watch_to_json(order)))
        await self._begin_watch(order)

    async def unwatch(self, cache: str) -> None:
        """What dies from now on stays dead."""
        await self._end_watch(cache)
        if NAME.fullmatch(cache):
            (self.state.nodes / cache / WATCH).unlink(missing_ok=True)

    async def _begin_watch(self, order: WatchOrder) -> None:
        here = {node: each for (cache, node), each in self._nodes.items() if cache == order.cache}
        if not here:
            return
        record = CacheRecord(order.cache, order.mode, "", bool(order.ca_pem), order.members)
        trust = None
        if order.ca_pem:
            ca_file = self.state.nodes / order.cache / "ca.pem"
            write_private(ca_file, order.ca_pem)
            trust = TlsTrust(str(ca_file))
        access = Access(Credentials(order.user, order.password), trust)
        doors = Doors(record, access)
        nodes = {name: GuardedNode(node, self._build) for name, node in here.items()}
        guardian = Guardian(order, doors, nodes, self.events)
        guardian.quorum = Quorum.of(order, self.state.supervisor, guardian.deciding())
        for name, node in here.items():
            node.on_end = functools.partial(guardian.node_ended, name)
        self._guardians[order.cache] = guardian
        await guardian.begin()
        if order.audit:
            looks = self._acl_watches[order.cache] = AclWatch(
                Doors(record, access), here, self.state, self.events
            )
            looks.begin()

    def _see_to_the_ended(self, cache: str) -> None:
        """Nodes that ended while no supervisor watched, as all have after a reboot: they are seen to as if just now."""
        for (owner, name), node in self._nodes.items():
            seen = node.seen()
            if owner == cache and seen.state is ProcessState.EXITED and cache in self._guardians:
                self._guardians[cache].node_ended(name, seen.why, time.monotonic())

    async def _end_watch(self, cache: str) -> None:
        if cache in self._acl_watches:
            await self._acl_watches.pop(cache).end()
        guardian = self._guardians.pop(cache, None)
        if guardian is not None:
            for (owner, _), node in self._nodes.items():
                if owner == cache:
                    node.on_end = None
            await guardian.end()

    def heard(self, cache: str, machine: str) -> dict[str, Any]:
        """Another machine of the cache has asked whether this one is there. Raises: NoMachineOf."""
        return self._quorum(cache, machine).heard(machine)

    def vote(self, cache: str, machine: str, gone: str) -> bool:
        """Whether this machine agrees that the other replaces a primary on the one that is gone. Raises: NoMachineOf."""
        return self._quorum(cache, machine).vote(machine, gone)

    def _quorum(self, cache: str, machine: str) -> Quorum:
        """Raises: NoMachineOf where the one that asks is none of the cache's, or no majority counts there."""
        guardian = self._guardians.get(cache)
        if guardian is None or guardian.quorum is None or machine not in guardian.quorum.lease.machines:
            raise NoMachineOf(cache, machine)
        return guardian.quorum

    def log(self, cache: str, node: str, lines: int) -> tuple[str, ...]:
        """The last lines of the node's log."""
        return self._node(cache, node).log(lines)

    def _node(self, cache: str, node: str) -> ManagedNode:
        self._refuse_unreadable(cache, node)
        try:
            return self._nodes[cache, node]
        except KeyError:
            raise NoSuchNode(cache, node) from None

    def _folder(self, cache: str, node: str) -> Path:
        return private_folder(self.state.nodes) / cache / node

    async def _build(self, order: NodeOrder) -> EngineBuild:
        if order.engine not in self._builds:
            found = (await asyncio.to_thread(survey, self.state.engines, self.environ, None)).found
            self._builds = {build.key: build for build in found} | self._builds
        try:
            return self._builds[order.engine]
        except KeyError:
            raise EngineGone(order.node, order.engine) from None

    def remember(self, builds: Sequence[EngineBuild]) -> None:
        """Builds that were found by a path in a spec, which no later search would find."""
        self._builds |= {build.key: build for build in builds}

    async def _rotate(self) -> None:
        while True:
            await asyncio.sleep(ROTATE_EVERY_S)
            for node in list(self._nodes.values()):
                with contextlib.suppress(OSError):
                    node.rotate()
