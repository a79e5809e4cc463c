"""The machine's service manager: whether it is systemd, whether it takes a unit, and what it is told about one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import HoldfastError

BOOTED = Path("/run/systemd/system")
"""There exactly when systemd has started the machine (sd_booted(3))."""
ASK_BOUND_S = 60.0


@dataclass(eq=False)
class NoSystemd(HoldfastError):
    """Nothing here would start a unit."""

    why: str
    state: str

    def __str__(self) -> str:
        return (
            f"no service was registered: {self.why}; have whatever starts programs on this machine run "
            f"`HOLDFAST_STATE={self.state} holdfast supervisor run` at boot and again when it ends"
        )


@dataclass(eq=False)
class SystemdRefused(HoldfastError):
    """systemd did not do what it was told."""

    command: str
    words: str
    left: str
    """What is there now, and what to do."""

    def __str__(self) -> str:
        return f"`{self.command}` failed: {self.words}; {self.left}"


@dataclass(frozen=True)
class Manager:
    """The manager that a unit of this user is given to."""

    system: bool
    """The machine's own (root), else the user's."""
    folder: Path
    """Where its unit files lie."""

    @property
    def command(self) -> list[str]:
        return ["systemctl"] if self.system else ["systemctl", "--user"]

    def tell(self, *words: str, left: str) -> str:
        """One systemctl command. Raises: SystemdRefused."""
        code, said = run([*self.command, *words])
        if code:
            raise SystemdRefused(" ".join([*self.command, *words]), said, left)
        return said

    def is_active(self, unit: str) -> bool:
        """Whether the unit runs."""
        return run([*self.command, "is-active", "--quiet", unit])[0] == 0


def manager_of(environ: Mapping[str, str], uid: int) -> Manager:
    """The manager for units of this user: the system's for root, else the user's own. Asks nobody."""
    if uid == 0:
        return Manager(system=True, folder=Path("/etc/systemd/system"))
    base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "/")) / ".config")
    return Manager(system=False, folder=Path(base) / "systemd" / "user")


def why_not(manager: Manager) -> str:
    """Why the manager would not start anything here; empty when it would."""
    if shutil.which("systemctl") is None:
        return "this machine has no systemd (there is no systemctl)"
    if not BOOTED.is_dir():
        return f"systemd does not run this machine ({BOOTED} is missing, as in most containers)"
    code, said = run([*manager.command, "show", "--property=Version"])
    return f"its manager does not answer ({said})" if code else ""


def faults(unit: Path) -> str:
    """What `systemd-analyze verify` says against the unit file; empty when nothing, or where it is not at hand.

    Always with the system's own folders: a user's manager may not be there yet, and the grammar is the same.
    """
    if shutil.which("systemd-analyze") is None:
        return ""
    code, said = run(
        ["systemd-analyze", "verify", "--system", "--man=no", "--recursive-errors=no", str(unit)]
    )
    return said if code else ""


def linger(user: str) -> str:
    """Have the user's manager run without a login, from boot on; why that was refused, empty when it was not."""
    code, said = run(["loginctl", "enable-linger", user])
    return said if code else ""


def run(command: list[str]) -> tuple[int, str]:
    """Exit code and what it said, in one line; never raises for a program that fails, is lacking or hangs."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ASK_BOUND_S,
            check=False,
            env={**os.environ, "LC_ALL": "C.UTF-8", "SYSTEMD_PAGER": ""},
        )
    except OSError as failed:
        return 127, failed.strerror or str(failed)
    except subprocess.TimeoutExpired:
        return 124, f"no answer in {ASK_BOUND_S:g} s"
    said = " / ".join(line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip())
    return done.returncode, said
