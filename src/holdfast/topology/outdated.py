"""A plan that what is seen now has overtaken; `apply.converge` then makes it anew."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.errors import HoldfastError


@dataclass(eq=False)
class PlanOutdated(HoldfastError):
    """What is seen now is not what the plan was made from: a failover came in between."""

    why: str

    def __str__(self) -> str:
        return f"{self.why}; run the command again, the plan is then made from what is"
