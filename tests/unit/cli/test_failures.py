"""How a command that fails says so: one sentence on stderr, the same as JSON where JSON was asked for, an exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdfast.cli.exit import ExitCode
from holdfast.cli.main import main


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "state"
    monkeypatch.setenv("HOLDFAST_STATE", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


def said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str
) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `holdfast words...`."""
    monkeypatch.setattr("sys.argv", ["holdfast", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    streams = capsys.readouterr()
    return int(ended.value.code or 0), streams.out, streams.err


FAILURES = [
    (("status", "nothing"), ExitCode.FAILED, "CacheUnknown"),
    (("check", "nothing.yaml"), ExitCode.FAILED, "SpecUnreadable"),
    (("rdb", "nothing.rdb"), ExitCode.FAILED, "NoRdbFile"),
    (("prove", "diff", "a"), ExitCode.WRONG_USAGE, "WrongUsage"),
    (("events", "nothing", "--last", "0"), ExitCode.WRONG_USAGE, "BadParameter"),
    (("status",), ExitCode.WRONG_USAGE, "MissingParameter"),
    (("status", "nothing", "--unheard-of"), ExitCode.WRONG_USAGE, "NoSuchOption"),
]


@pytest.mark.parametrize(
    ("words", "code", "error"), FAILURES, ids=[" ".join(words) for words, _, _ in FAILURES]
)
def test_a_failure_is_json_where_json_was_asked_for(
    state: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    code: ExitCode,
    error: str,
) -> None:
    plain = said(capsys, monkeypatch, *words)
    assert (plain[0], plain[1]) == (code, "")
    as_json = said(capsys, monkeypatch, *words, "--json")
    assert as_json[0] == code
    told = json.loads(as_json[1])["error"]
    assert told["code"] == error
    if code is ExitCode.FAILED:
        assert as_json[2] == plain[2] == f"holdfast: {told['sentence']}\n"


def test_json_is_owed_to_the_command_that_was_asked_for_it_alone(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said(capsys, monkeypatch, "status", "nothing", "--json")
    assert said(capsys, monkeypatch, "status", "nothing")[1] == ""


def test_options_of_call_behind_the_cache_are_not_sent_to_it(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = said(capsys, monkeypatch, "call", "shop", "--node", "n1", "GET", "k")
    assert (code, "--node stands behind CACHE" in err) == (ExitCode.WRONG_USAGE, True)


@pytest.mark.parametrize("mode", [0o755, 0o700])
def test_a_folder_of_other_things_is_never_taken_for_a_state_folder(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    """HOLDFAST_STATE=$HOME, or =/tmp as root, must not close that folder to everybody else."""
    state.mkdir()
    state.chmod(mode)
    (state / "letters").mkdir()
    code, _, err = said(capsys, monkeypatch, "status", "nothing")
    assert (code, "is no state folder" in err, "(letters)" in err) == (ExitCode.FAILED, True, True)
    assert [entry.name for entry in state.iterdir()] == ["letters"]
    assert state.stat().st_mode & 0o777 == mode


def test_an_empty_folder_and_a_fresh_disk_become_a_state_folder(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (state / "lost+found").mkdir(parents=True)
    state.chmod(0o755)
    assert "there is no cache nothing" in said(capsys, monkeypatch, "status", "nothing")[2]
    assert (state / "version").read_text() == "1\n"
    assert state.stat().st_mode & 0o777 == 0o700
