"""What a mode of migration offers to the job that runs it; how it does so is its own affair."""

from __future__ import annotations

from typing import Any, Protocol

from holdfast.migrate.ends import Side
from holdfast.migrate.journal import Switch


class Mover(Protocol):
    """Carries one migration's data and switches its primaries. Everything it must remember is in the journal."""

    async def keep(self) -> None:
        """Carry until cancelled; trouble that may pass is told and tried again.

        Raises: a HoldfastError where going on is of no use; the job then stands as failed.
        """

    async def switch(self, to: Side, bound_ms: int, hook: str) -> Switch:
        """Make `to` the primary end, or go on with the switch that the journal says was begun.

        Raises: NotReady, SwitchUndone; any other HoldfastError where it is to be called again.
        """

    async def let_go(self) -> tuple[str, ...]:
        """Leave the target as it is, by itself, and give back what was borrowed; what could not be."""

    async def finish(self) -> tuple[str, ...]:
        """After a cutover: end the way back and give back what was borrowed; what could not be."""

    async def close(self, *, forget: bool = False) -> None:
        """Stop carrying. Args: `forget`, delete what was kept on disk for it."""

    def glance(self) -> dict[str, Any]:
        """How far it is: at least `phase`, `trouble`, `lag_bytes`, `lag_ms`, `losses`."""
