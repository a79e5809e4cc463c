"""`holdfast init`, `check` and `spec` on files, by their exit codes, texts and JSON."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from holdfast.cli.main import main

ROOT = Path(__file__).parents[3]
PHONEBILL = str(ROOT / "examples/phonebill/cache.yaml")


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)

    def running(*args: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["holdfast", *args])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Ran(int(ended.value.code or 0), printed.out, printed.err)

    return running


def test_the_phonebill_cache_passes_with_its_overlay_and_without(run: Run) -> None:
    merged = run("check", PHONEBILL)
    assert merged.code == 0
    assert (
        "cache.local.yaml: valid; cache phonebill-cache-prod, cluster, 3 x 2 nodes over 3 zones, place local"
        in merged.out
    )
    alone = run("check", PHONEBILL, "--place", "none", "--json")
    assert alone.code == 0
    assert json.loads(alone.out)["files"] == [PHONEBILL]


def test_advice_that_is_not_accepted_exits_6(run: Run, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("cache: {name: x}\nnetwork: {bind: [0.0.0.0]}\n")
    ran = run("check", "c.yaml")
    assert ran.code == 6
    assert "HF-SEC-005" in ran.out
    assert "1 must be mended or accepted" in ran.out
    facts = json.loads(run("check", "c.yaml", "--json").out)
    assert {"id": "HF-SEC-005", "severity": "error", "accepted": None}.items() <= facts["advice"][0].items()


def test_faults_exit_1_all_at_once_in_both_views(run: Run, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("cache: {nam: x}\nmemory: {samples: 0}\n")
    text = run("check", "c.yaml")
    assert text.code == 1
    assert text.err.count("c.yaml:") >= 3
    assert "did you mean name?" in text.err
    facts = run("check", "c.yaml", "--json")
    assert facts.code == 1
    assert [fault["path"] for fault in json.loads(facts.out)["faults"]] == [
        "cache.name",
        "cache.nam",
        "memory.samples",
    ]


def test_init_writes_a_cache_and_never_over_another(run: Run, tmp_path: Path) -> None:
    assert run("init").code == 0
    assert run("check", "cache.yaml").code == 0
    mine = (tmp_path / "cache.yaml").read_text() + "# mine\n"
    (tmp_path / "cache.yaml").write_text(mine)
    again = run("init")
    assert again.code == 1
    assert "is there already" in again.err
    assert (tmp_path / "cache.yaml").read_text() == mine
    assert run("init", "--force").code == 0
    assert "# mine" not in (tmp_path / "cache.yaml").read_text()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["cache.yaml"]


def test_init_from_phonebill_writes_both_files(run: Run, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    ran = run("init", "deep", "--from", "phonebill", "--json")
    assert json.loads(ran.out)["written"] == ["deep/cache.yaml", "deep/cache.local.yaml"]
    assert run("check", "deep/cache.yaml").code == 0
    assert run("init", "other.yaml", "--from", "nonsense").code == 2


def test_init_into_a_folder_that_is_not_there_leaves_nothing(run: Run, tmp_path: Path) -> None:
    ran = run("init", "no/where/cache.yaml")
    assert ran.code == 1
    assert "could not be written" in ran.err
    assert list(tmp_path.iterdir()) == []


def test_show_is_a_spec_file_that_means_the_same(run: Run, tmp_path: Path) -> None:
    shown = run("spec", "show", PHONEBILL)
    assert shown.code == 0
    assert "cache.local.yaml:" in shown.out
    assert "# default" in shown.out
    (tmp_path / "all.yaml").write_text(shown.out)
    digests = [
        json.loads(run("spec", "show", file, "--json").out)["digest"] for file in ("all.yaml", PHONEBILL)
    ]
    assert digests[0] == digests[1]


def test_upgrade_keeps_the_old_text_and_the_file_mode(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("# hi\ncache: {name: x}\n")
    file.chmod(0o640)
    assert "Nothing was written" in run("spec", "upgrade", "c.yaml", "--dry-run").out
    assert file.read_text() == "# hi\ncache: {name: x}\n"
    done = json.loads(run("spec", "upgrade", "c.yaml", "--json").out)
    assert done["written"] is True
    assert file.read_text() == "# hi\nformat: 1\ncache: {name: x}\n"
    assert (tmp_path / "c.yaml.old").read_text() == "# hi\ncache: {name: x}\n"
    assert file.stat().st_mode & 0o777 == 0o640
    assert json.loads(run("spec", "upgrade", "c.yaml", "--json").out)["changes"] == []


def test_schema_is_json(run: Run) -> None:
    assert json.loads(run("spec", "schema").out)["title"] == "Holdfast cache"
    assert run("spec", "schema", "--markdown").out.startswith("## Every key")


def test_an_overlay_alone_and_a_place_without_overlay_are_wrong_usage(run: Run, tmp_path: Path) -> None:
    (tmp_path / "cache.yaml").write_text("cache: {name: x}\n")
    (tmp_path / "cache.lab.yaml").write_text("memory: {maxmemory: 1gb}\n")
    assert "name the whole: cache.yaml --place lab" in run("check", "cache.lab.yaml").err
    missing = run("check", "cache.yaml", "--place", "moon")
    assert missing.code == 2
    assert "there are overlays for lab" in missing.err
    assert run("check", "cache.yaml", "--place", "../lab").code == 2
    assert json.loads(run("check", "cache.yaml", "--place", "lab", "--json").out)["files"] == [
        "cache.yaml",
        "cache.lab.yaml",
    ]
    assert json.loads(run("check", "cache.yaml", "--json").out)["files"] == ["cache.yaml"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("nowhere.yaml", "does not exist"),
        (".", "is a folder"),
        ("/dev/zero", "is not a regular file"),
        ("pipe", "is not a regular file"),
        ("x" * 300, "too long a name"),
        ("a\0b", "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(run: Run, tmp_path: Path, path: str, said: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    ran = run("check", path)
    assert ran.code == 1
    assert said in ran.err
    assert ran.err.count("\n") == 1


def test_a_huge_file_is_refused_without_being_read_whole(run: Run, tmp_path: Path) -> None:
    with (tmp_path / "huge.yaml").open("wb") as file:
        file.truncate(1 << 40)  # sparse: a terabyte
    ran = run("check", "huge.yaml")
    assert ran.code == 1
    assert "more than the 262144" in ran.err
