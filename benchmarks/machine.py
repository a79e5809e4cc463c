"""What the machine is that a measurement was made on, for the head of its table."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """A machine, and how busy it was before the measurement."""

    cpu: str
    cores: int
    memory_bytes: int
    kernel: str
    system: str
    python: str
    load: float
    """Processes that wanted to run, averaged over the minute before."""
    at: str
    """UTC."""

    def __str__(self) -> str:
        return (
            f"{self.at} UTC; {self.cpu}, {self.cores} cores, {self.memory_bytes / (1 << 30):.0f} GiB memory; "
            f"Linux {self.kernel}, {self.system}; Python {self.python}; load {self.load:.1f} before the start"
        )


def this_machine() -> Machine:
    """Look at this machine now."""
    return Machine(
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        kernel=platform.release(),
        system=platform.freedesktop_os_release().get("PRETTY_NAME", "unknown system"),
        python=platform.python_version(),
        load=os.getloadavg()[0],
        at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
    )


def _cpu_model() -> str:
    """The processor as the kernel names it; ARM kernels name none."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
