"""The steps of a repair: each acts on data that somebody has to answer for. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from holdfast.topology.slots import Slots, ranges
from holdfast.topology.steps import Step


@dataclass(frozen=True)
class SaveAside(Step):
    """Hold a node's writes, have it write a snapshot, and keep that in a folder that nothing reads by itself."""

    name: ClassVar[str] = "save_aside"
    node: str

    @property
    def title(self) -> str:
        return f"save the data set of {self.node} aside; its writers are held from here on"


@dataclass(frozen=True)
class GiveUp(Step):
    """Make a primary follow another one: what it holds is replaced by what that one holds."""

    name: ClassVar[str] = "give_up"
    node: str
    winner: str

    @property
    def title(self) -> str:
        return f"have {self.node} copy {self.winner}: what only {self.node} holds is then in the saved snapshot alone"


@dataclass(frozen=True)
class GiveUpSlots(Step):
    """Make slots that two nodes claim the one's alone, by a newer epoch; the engine deletes the other's keys in them."""

    name: ClassVar[str] = "give_up_slots"
    node: str
    winner: str
    slots: Slots

    @property
    def title(self) -> str:
        told = ",".join(str(span) for span in ranges(self.slots))
        return f"give slots {told} to {self.winner} alone; {self.node} drops its keys in them"


@dataclass(frozen=True)
class TakeOver(Step):
    """Make a replica the primary without a vote."""

    name: ClassVar[str] = "take_over"
    node: str
    dead: str

    @property
    def title(self) -> str:
        return f"make {self.node} the primary in place of {self.dead}, without a vote"
