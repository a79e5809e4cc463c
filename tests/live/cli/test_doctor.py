"""`holdfast doctor` as it is typed, on this machine."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ON_MACOS = """
import sys
import typer.main, pydantic.fields, zoneinfo, sysconfig  # what asks for the real platform as it is imported
sysconfig.get_config_vars()
sys.platform = "darwin"
sys.argv = ["holdfast", *sys.argv[1:]]
from holdfast.cli.main import main
main()
"""


def holdfast(
    tmp_path: Path, *arguments: str, open_files: int | None = None, code: str | None = None
) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        if open_files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, open_files))

    start = ["-c", code] if code else ["-m", "holdfast.cli.main"]
    plain = ["setpriv", "--bounding-set", "-sys_resource", "--"] if open_files and os.geteuid() == 0 else []
    return subprocess.run(
        [*plain, sys.executable, *start, *arguments], capture_output=True, text=True, timeout=60, check=False,
        env=os.environ | {"HOLDFAST_STATE": str(tmp_path / "state")}, preexec_fn=limit,
    )  # fmt: skip


def spec(tmp_path: Path, more: str) -> str:
    file = tmp_path / "cache.yaml"
    file.write_text(f"format: 1\ncache:\n  name: shop\n{more}")
    return str(file)


def test_without_a_spec_it_speaks_in_general_and_makes_nothing(tmp_path: Path) -> None:
    said = holdfast(tmp_path, "doctor")
    assert said.returncode == 0, said.stderr
    assert "overcommit" in said.stdout
    assert "in general" in said.stdout
    assert not (tmp_path / "state").exists()


def test_text_and_json_hold_the_same_findings(tmp_path: Path) -> None:
    facts = json.loads(holdfast(tmp_path, "doctor", "--json").stdout)
    text = holdfast(tmp_path, "doctor").stdout
    assert facts["demand"] is None
    for finding in facts["findings"]:
        assert finding["id"] in text
        assert finding["mend"] in text, "a command is never broken into lines"


def test_with_a_spec_the_figures_are_exact(tmp_path: Path) -> None:
    facts = json.loads(
        holdfast(tmp_path, "doctor", spec(tmp_path, "memory:\n  maxmemory: 5mb\n"), "--json").stdout
    )
    assert facts["demand"]["cache"] == "shop"
    memory = next(finding for finding in facts["findings"] if finding["id"] == "memory")
    assert "1 nodes of 5.0 MB hold 5.0 MB when full" in memory["seen"]


def test_a_promise_that_cannot_be_kept_is_exit_3(tmp_path: Path) -> None:
    said = holdfast(tmp_path, "doctor", spec(tmp_path, "memory:\n  maxmemory: 900tb\n"))
    assert said.returncode == 3, said.stderr
    assert "error   memory" in said.stdout


def test_a_spec_with_faults_is_exit_1(tmp_path: Path) -> None:
    said = holdfast(tmp_path, "doctor", spec(tmp_path, "memory:\n  maxmemry: 5mb\n"))
    assert said.returncode == 1
    assert "maxmemory" in said.stderr


def test_a_low_limit_names_what_the_engine_would_do(tmp_path: Path) -> None:
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("root raises its own limits, and there is no setpriv to take that right away")
    said = holdfast(tmp_path, "doctor", spec(tmp_path, ""), open_files=1000)
    assert said.returncode == 3
    assert "lowers maxclients to 968" in said.stdout


@pytest.mark.parametrize("verb", ["doctor", "uninstall"])
def test_on_macos_it_refuses_in_one_sentence(tmp_path: Path, verb: str) -> None:
    said = holdfast(tmp_path, verb, code=ON_MACOS)
    assert said.returncode == 1
    assert said.stderr.strip().startswith(f"holdfast: holdfast {verb} runs on Linux only and this is macOS")
    assert said.stderr.count("\n") == 1


def test_on_macos_help_and_documentation_work(tmp_path: Path) -> None:
    assert holdfast(tmp_path, "doctor", "--help", code=ON_MACOS).returncode == 0
    assert holdfast(tmp_path, "docs", "cli", code=ON_MACOS).stdout.startswith("# The commands")
