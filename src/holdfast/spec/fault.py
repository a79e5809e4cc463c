"""What is wrong with a spec file, said with file, line, column and the nearest thing that would be right."""

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.errors import HoldfastError

Path = tuple[str | int, ...]
"""Keys and list places from the root of a file down to a value."""


def path_text(path: Path) -> str:
    """`keyspace.namespaces[bill.inquiry].ttl`, `topology.zones[0]`; a key that holds a dot stands in brackets.

    Signs that a terminal or a log would obey are escaped: a key is whatever the file says.
    """
    spelt = ""
    for key in path:
        part = key if isinstance(key, int) or key.isprintable() else ascii(key)[1:-1]
        if isinstance(part, int) or "." in part or not part:
            spelt += f"[{part}]"
        else:
            spelt += f".{part}" if spelt else part
    return spelt


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong in one place."""

    file: str
    line: int
    """From 1; 0 where the fault belongs to no line."""
    column: int
    """From 1; 0 where the fault belongs to no line."""
    path: str
    """Where in the spec: `topology.shards`; empty for the file as a whole."""
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        about = f"{self.path}: " if self.path else ""
        return f"{place}: {about}{self.message}" + (f"; {self.hint}" if self.hint else "")


@dataclass(eq=False)
class SpecInvalid(HoldfastError):
    """A spec was refused as a whole; every fault found is named."""

    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        files = ", ".join(dict.fromkeys(fault.file for fault in self.faults))
        lines = "".join(f"\n  {fault}" for fault in self.faults)
        return f"{files}: {count}, so nothing of it was used:{lines}"


def in_reading_order(faults: Sequence[Fault], files: Sequence[str]) -> tuple[Fault, ...]:
    """Faults without repetitions, by file as given and then by line."""
    order = {file: index for index, file in enumerate(files)}
    unique = dict.fromkeys(faults)
    return tuple(
        sorted(unique, key=lambda fault: (order.get(fault.file, len(order)), fault.line, fault.column))
    )
