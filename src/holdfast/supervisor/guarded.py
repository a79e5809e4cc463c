"""What a guardian may do to a node of this machine, done through the node's keeper."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from holdfast.engine.build import EngineBuild
from holdfast.engine.config import CLUSTER_STATE_NAME
from holdfast.engine.datafiles import DataFiles, look_at_files
from holdfast.state import write_private
from holdfast.supervisor.node import SOCKET, ManagedNode
from holdfast.supervisor.pulse import Pulse
from holdfast.topology.hosts import NodeOrder
from holdfast.topology.seen import ProcessState

CONFIG = "server.conf"


class GuardedNode:
    """A node as its guardian has it (a `guardian.LocalNode`)."""

    def __init__(self, node: ManagedNode, build: Callable[[NodeOrder], Awaitable[EngineBuild]]) -> None:
        self._node = node
        self._build = build

    @property
    def pid(self) -> int:
        return self._node.seen().pid

    @property
    def state(self) -> ProcessState:
        return self._node.seen().state

    def pulse(self) -> Pulse:
        order = self._node.order
        return Pulse(self._node.folder / SOCKET, order.probe_user, order.probe_password)

    async def restart(self) -> str:
        """Start it with the files it has; what it could not load of its data, empty when nothing."""
        return await self._node.start(await self._build(self._node.order))

    async def kill(self) -> None:
        await self._node.kill()

    def follow(self, address: str, port: int) -> None:
        """Have it follow that node from its start on."""
        file = self._node.folder / CONFIG
        write_private(file, following(file.read_text(), address, port))

    def cluster_id(self) -> str:
        """Its id in its cluster, by its own memory of it; empty where it has none."""
        try:
            text = (self._node.folder / CLUSTER_STATE_NAME).read_text(errors="replace")
        except OSError:
            return ""
        lines = (line.split(" ") for line in text.splitlines())
        return next((words[0] for words in lines if len(words) > 2 and "myself" in words[2].split(",")), "")

    def files(self) -> DataFiles:
        """Its data set as it lies on disk."""
        return look_at_files(self._node.folder, self._node.order.config)


def following(config: str, address: str, port: int) -> str:
    """The configuration with the primary to follow put in place of the one it named, if any."""
    kept = [
        line for line in config.splitlines() if line.split(" ")[0].lower() not in {"replicaof", "slaveof"}
    ]
    return (
        "\n".join([*kept, "# holdfast: its primary since the last failover", f"replicaof {address} {port}"])
        + "\n"
    )
