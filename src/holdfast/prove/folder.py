"""The folder of a run: evidence.json, report.html and junit.xml, private to its owner."""

from __future__ import annotations

import json
import platform
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from holdfast.prove.evidence import Evidence, EvidenceUnreadable
from holdfast.prove.junit import junit_xml
from holdfast.prove.report.page import report_html
from holdfast.state import StateFolder, private_folder, write_private

FILE = "evidence.json"
LARGEST_BYTES = 256 << 20


def place_for(state: StateFolder, cache: str, at: datetime) -> Path:
    """Where a run is kept when nobody says where; a second run in the same second gets a number."""
    stem = at.strftime("%Y-%m-%dT%H-%M-%SZ")
    folder = state.path / "evidence" / cache
    number, found = 1, folder / stem
    while found.exists():
        number += 1
        found = folder / f"{stem}-{number}"
    return found


def write_run(folder: Path, evidence: Evidence) -> None:
    """Write all three files. Raises: NotWritten; what was there before is whole."""
    private_folder(folder)
    write_private(folder / FILE, json.dumps(evidence.to_json(), indent=1, ensure_ascii=False, default=str))
    write_private(folder / "report.html", report_html(evidence))
    write_private(folder / "junit.xml", junit_xml(evidence))


def read_run(path: Path) -> Evidence:
    """Read a run back. Args: `path`, its folder or its evidence.json. Raises: EvidenceUnreadable."""
    file = path / FILE if path.is_dir() else path
    try:
        if file.stat().st_size > LARGEST_BYTES:
            raise EvidenceUnreadable(str(file), "it is larger than any evidence")
        return Evidence.from_json(str(file), json.loads(file.read_bytes()))
    except (OSError, ValueError, RecursionError) as failed:
        words = failed.strerror if isinstance(failed, OSError) and failed.strerror else str(failed)
        raise EvidenceUnreadable(str(file), words) from failed


def machine_facts() -> dict[str, Any]:
    """The machine that measured."""
    memory = psutil.virtual_memory()
    return {
        "system": platform.system(),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "cores": psutil.cpu_count() or 0,
        "memory_bytes": memory.total,
        "load_average": list(psutil.getloadavg()),
    }
