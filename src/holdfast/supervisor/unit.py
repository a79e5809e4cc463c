"""The text of the systemd unit that keeps a machine's supervisor running, across reboots too. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

PREFIX = "holdfast-supervisor"


@dataclass(frozen=True)
class Unit:
    """One unit file."""

    name: str
    text: str


def unit_name(state: str) -> str:
    """A name of its own for each state folder, so that several on one machine do not take one another's place."""
    return f"{PREFIX}-{hashlib.sha256(state.encode()).hexdigest()[:8]}.service"


def render(state: str, python: str, *, system: bool) -> Unit:
    """The unit of the supervisor of a state folder.

    Args: `state` and `python`, absolute paths; `system`, for the machine's own manager, else for a user's.
    KillMode=process is what lets nodes run on when the supervisor is stopped, replaced or killed.
    """
    lines = [
        "# Written by `holdfast service install`; `holdfast service remove` takes it away.",
        "[Unit]",
        f"Description=Holdfast supervisor of {_specifiers(state)}",
        "Documentation=man:holdfast(1)",
        *(("After=network-online.target", "Wants=network-online.target") if system else ()),
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=exec",
        f"Environment={_quoted('HOLDFAST_STATE=' + state)}",
        f"ExecStart={_quoted(python).replace('$', '$$')} -m holdfast.supervisor",
        "WorkingDirectory=/",
        "UMask=0077",
        "Restart=always",
        "RestartSec=2",
        "KillMode=process",
        "TimeoutStopSec=60",
        *(("OOMScoreAdjust=-500", "LimitNOFILE=1048576") if system else ()),
        "",
        "[Install]",
        f"WantedBy={'multi-user' if system else 'default'}.target",
        "",
    ]
    return Unit(unit_name(state), "\n".join(lines))


def _specifiers(text: str) -> str:
    """A per cent sign begins a specifier in unit files."""
    return text.replace("%", "%%")


def _quoted(text: str) -> str:
    """One word of a unit file, whatever is in it."""
    escaped = _specifiers(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
