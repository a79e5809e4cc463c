"""Shell completion: what a shell asks when Tab is pressed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HOLDFAST = Path(sys.executable).with_name("holdfast")


def completed(words: str) -> list[str]:
    asked = {"_HOLDFAST_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    said = subprocess.run(
        [str(HOLDFAST)], capture_output=True, text=True, timeout=60, check=False, env=os.environ | asked
    )
    return said.stdout.split()


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("holdfast do", {"doctor", "down"}),
        ("holdfast doctor --j", {"--json"}),
        ("holdfast spec sc", {"schema"}),
        ("holdfast nonsense", set()),
    ],
)
def test_tab_completes_verbs_options_and_what_is_below(words: str, wanted: set[str]) -> None:
    assert set(completed(words)) == wanted
