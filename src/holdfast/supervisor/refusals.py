"""What a machine's keeper of nodes refuses, in sentences."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.errors import HoldfastError


@dataclass(eq=False)
class NoSuchNode(HoldfastError):
    """This machine was never given such a node."""

    cache: str
    node: str

    def __str__(self) -> str:
        return f"there is no node {self.node} of cache {self.cache} on this machine"


@dataclass(eq=False)
class NoMachineOf(HoldfastError):
    """Whoever asks as one of a cache's machines is none, or the cache's machines decide nothing together."""

    cache: str
    machine: str

    def __str__(self) -> str:
        return f"{self.machine or 'nobody'} has no vote on {self.cache} here"


@dataclass(eq=False)
class NameNotAllowed(HoldfastError):
    """A name that could not be a folder or file name of its own."""

    name: str

    def __str__(self) -> str:
        return f"{self.name!r} is no name of a cache, node or file; nothing was written"


@dataclass(eq=False)
class EngineGone(HoldfastError):
    """The engine build that a node was made for is not on this machine any more."""

    node: str
    engine: str

    def __str__(self) -> str:
        return (
            f"{self.node} was made for the engine {self.engine}, which is not on this machine any more: "
            "`holdfast engines` lists what is, `holdfast engines add NAME` brings one back"
        )


@dataclass(eq=False)
class SnapshotKept(HoldfastError):
    """A node that keeps its data on disk keeps its snapshot."""

    node: str

    def __str__(self) -> str:
        return f"the snapshot of {self.node} was not deleted: its configuration asks for data on disk"


@dataclass(eq=False)
class NodeFileUnreadable(HoldfastError):
    """What was known of a node's process is lost, so it is neither started nor stopped."""

    node: str
    path: str
    words: str

    def __str__(self) -> str:
        return (
            f"{self.node} was neither started nor stopped: {self.path} is not one that this Holdfast wrote ({self.words}), "
            "so a server of it may run unseen. Nothing was changed. End that server if there is one (`ss -ltnp` shows who "
            "listens on its port), remove the file, run `holdfast supervisor stop`, then the same command again"
        )
