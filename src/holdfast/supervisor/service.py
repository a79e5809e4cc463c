"""The supervisor as a service of the machine: registered, started, found again, and taken away."""

from __future__ import annotations

import getpass
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from holdfast.host import systemd
from holdfast.host.systemd import Manager, NoSystemd, SystemdRefused
from holdfast.state import NotWritten, StateFolder, write_private
from holdfast.supervisor import unit

FILE = "service.json"
"""In the supervisor's folder: which unit was registered for it."""


@dataclass(frozen=True)
class Service:
    """A unit that was registered for a state folder."""

    name: str
    path: str
    system: bool

    @property
    def manager(self) -> Manager:
        return Manager(self.system, Path(self.path).parent)


@dataclass(frozen=True)
class Installed:
    """What `install` did."""

    service: Service
    survives_reboot: bool
    why_not: str
    """Why it would not be started at boot; empty when it is."""


def registered(state: StateFolder) -> Service | None:
    """The unit that was registered for this state folder, if its file is still there."""
    try:
        kept = Service(**json.loads((state.path / "supervisor" / FILE).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    return kept if Path(kept.path).is_file() else None


def install(state: StateFolder, environ: Mapping[str, str]) -> Installed:
    """Write the unit, have it checked, and enable it; starting it is left to the caller.

    Raises: NoSystemd before anything is written; SystemdRefused, NotWritten.
    """
    manager = systemd.manager_of(environ, os.geteuid())
    if why := systemd.why_not(manager):
        raise NoSystemd(why, str(state.path))
    made = unit.render(str(state.path), sys.executable, system=manager.system)
    _refuse_faulty(made)
    service = Service(made.name, str(manager.folder / made.name), manager.system)
    write_private(state.supervisor / FILE, json.dumps(asdict(service)))
    try:
        manager.folder.mkdir(parents=True, exist_ok=True)
    except OSError as failed:
        raise NotWritten(str(manager.folder), failed.errno or 0, failed.strerror or str(failed)) from failed
    write_private(
        Path(service.path), made.text, mode=0o644
    )  # it holds no secret, and managers want to read it
    left = f"{service.path} is written: mend that and run this again, or holdfast service remove"
    manager.tell("daemon-reload", left=left)
    manager.tell("enable", made.name, left=left)
    why_not = "" if manager.system else systemd.linger(getpass.getuser())
    return Installed(service, not why_not, why_not)


def start(service: Service) -> None:
    """Have the manager start it. Raises: SystemdRefused."""
    left = f"see `journalctl {'' if service.system else '--user '}-u {service.name}`"
    service.manager.tell("start", service.name, left=left)


def remove(state: StateFolder) -> Service | None:
    """Take the unit away; its supervisor and nodes run on. None where none was registered.

    Raises: SystemdRefused where the manager runs and does not forget it.
    """
    service = registered(state)
    if service is not None:
        manager = service.manager
        told = not systemd.why_not(manager)
        left = f"{service.path} is still there: mend that and run this again"
        if told:  # stopped first, or it would be started again; KillMode=process leaves the nodes alone
            manager.tell("disable", "--now", service.name, left=left)
        Path(service.path).unlink(missing_ok=True)
        if told:
            manager.tell("daemon-reload", left="the unit is gone; only the manager has not noticed yet")
    (state.path / "supervisor" / FILE).unlink(missing_ok=True)
    return service


def _refuse_faulty(made: unit.Unit) -> None:
    """Raises: SystemdRefused with what systemd-analyze says against it; nothing has been written yet."""
    with tempfile.TemporaryDirectory(prefix="holdfast-unit-") as folder:
        file = Path(folder) / made.name
        file.write_text(made.text)
        if said := systemd.faults(file):
            raise SystemdRefused("systemd-analyze verify", said, "nothing was registered")
