"""The mode `relay` as the job sees it."""

from __future__ import annotations

from holdfast.errors import HoldfastError
from holdfast.migrate.ends import Side
from holdfast.migrate.fences import rewrite
from holdfast.migrate.journal import Switch
from holdfast.migrate.relay.mover import RelayMover
from holdfast.migrate.relay.switch import RelaySwitch
from holdfast.migrate.settings import give_back


class RelayMode(RelayMover):
    """A `Mover` (see holdfast.migrate.mode)."""

    async def switch(self, to: Side, bound_ms: int, hook: str) -> Switch:
        """Make `to` the primary end."""
        return await RelaySwitch(self, bound_ms, hook).run(to)

    async def finish(self) -> tuple[str, ...]:
        """End the way back. The old source stays fenced: its data is of the past from now on."""
        said = [*await give_back(self.book, lambda loan: not (loan.sentinel and loan.side is Side.SOURCE))]
        try:
            head = await self.head(Side.TARGET)
            async with await self.connect(Side.TARGET, head.address) as node:
                if words := await rewrite(node):
                    said.append(words)
        except HoldfastError as failed:
            said.append(str(failed))
        return tuple(said)
