"""Every command's help is whole: a sentence, what each parameter means, an example that would parse."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from holdfast import __version__
from holdfast.cli.app import app
from holdfast.cli.exit import ExitCode
from holdfast.cli.main import COMMANDS, register
from holdfast.cli.pages import EXIT_MEANINGS, Page, pages


def command_tree() -> Any:
    register()
    return typer.main.get_command(app)


def leaves(command: Any, path: tuple[str, ...] = ("holdfast",)) -> list[tuple[tuple[str, ...], Any]]:
    """Every command that does something, hidden ones too."""
    below = getattr(command, "commands", None)
    if below is None:
        return [(path, command)]
    return [leaf for name, sub in below.items() for leaf in leaves(sub, (*path, name))]


LEAVES = leaves(command_tree())
NAMES = [" ".join(path) for path, _ in LEAVES]


def page_of(path: tuple[str, ...], command: Any) -> Page:
    return next(pages(command, path))


def test_there_are_commands() -> None:
    assert {"holdfast doctor", "holdfast uninstall", "holdfast docs cli"} <= set(NAMES)


@pytest.mark.parametrize(("path", "command"), LEAVES, ids=NAMES)
def test_each_command_has_a_sentence_and_an_example_of_itself(path: tuple[str, ...], command: Any) -> None:
    page = page_of(path, command)
    assert page.summary.endswith("."), f"{page.name}: the docstring begins with a sentence"
    own = [line for line in page.examples if page.name in line]
    assert own, (
        f"{page.name}: no example; end the docstring with '\\b', 'Examples:' and lines '{page.name} ...'"
    )


@pytest.mark.parametrize(("path", "command"), LEAVES, ids=NAMES)
def test_each_parameter_says_what_it_is(path: tuple[str, ...], command: Any) -> None:
    page = page_of(path, command)
    silent = [entry.spelt for entry in (*page.arguments, *page.options) if not entry.help]
    assert not silent, f"{page.name}: no help for {silent}"


@pytest.mark.parametrize(("path", "command"), LEAVES, ids=NAMES)
def test_each_example_names_options_that_are_there(path: tuple[str, ...], command: Any) -> None:
    page = page_of(path, command)
    known = {name for found in command.params for name in (*found.opts, *found.secondary_opts)} | {"--help"}
    for line in page.examples:
        if page.name not in line:
            continue
        mine = re.split(r" -- |[|)>]", line.partition(page.name)[2])[0]
        used = {word.partition("=")[0] for word in shlex.split(mine, comments=True) if word.startswith("-")}
        assert used <= known, f"{line!r} uses {used - known}"


def test_a_verb_is_found_in_the_module_that_is_imported_for_it() -> None:
    named = {verb for verbs in COMMANDS.values() for verb in verbs}
    assert named == {path[1] for path, _ in LEAVES} - {"docs"}
    for path, command in LEAVES:
        if path[1] != "docs":
            home = next(module for module, verbs in COMMANDS.items() if path[1] in verbs)
            assert f"{command.callback.__module__}.".startswith(f"{home}."), path


def test_a_known_verb_imports_no_other(tmp_path: Path) -> None:
    """What `holdfast status` needs not, it does not wait for; `status` of nothing has done all its imports."""
    code = (
        "import sys; from holdfast.cli.main import COMMANDS, main; sys.argv = ['holdfast', 'status', 'nothing']\n"
        "try: main()\n"
        "except SystemExit as ended: print(ended.code)\n"
        "import holdfast.cli.look, holdfast.cli.views\n"
        "print(*sorted({*COMMANDS, 'cryptography.x509', 'httpx', 'ruamel.yaml', 'pygments', 'uvicorn', 'starlette'} & set(sys.modules)))"
    )
    environ = {**os.environ, "HOLDFAST_STATE": str(tmp_path / "state")}
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ
    )
    assert said.stdout.split() == ["1", "holdfast.cli.cache"]


def test_every_exit_code_is_explained() -> None:
    assert set(EXIT_MEANINGS) == set(ExitCode)


def test_the_version_needs_no_command() -> None:
    said = CliRunner().invoke(app, ["--version"])
    assert (said.exit_code, said.stdout) == (ExitCode.OK, f"holdfast {__version__}\n")
