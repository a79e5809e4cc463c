"""What is generated from the help: the Markdown page in the repository is current, and roff says what it is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
import typer.main

from holdfast import __version__
from holdfast.cli.app import app
from holdfast.cli.main import register
from holdfast.cli.markdown import markdown
from holdfast.cli.pages import Entry, Page, pages
from holdfast.cli.roff import escape, man_pages

REPOSITORY = Path(__file__).parents[3]

toy = typer.Typer()
toy_group = typer.Typer(help="Several [bold]things[/bold].")
toy.add_typer(toy_group, name="group")


@toy.callback()
def _root() -> None:
    """The toy."""


@toy_group.command("turn")
def _turn(
    thing: str = typer.Argument(help="What to turn.", metavar="THING"),
    by: int = typer.Option(90, "--by", help="Degrees | turns.", metavar="ANGLE"),
    fast: bool = typer.Option(False, "--fast/--slow", help="How."),
) -> None:
    """Turn a thing.

    It may break,
    so mind it.

    \b
    Examples:
      holdfast group turn wheel --by 45
      holdfast group turn "a b"  # with a space
    """


@toy.command("secret", hidden=True)
def _secret() -> None:
    """Not shown."""


def toy_pages() -> tuple[Page, ...]:
    return tuple(pages(typer.main.get_command(toy)))


def test_help_is_taken_apart() -> None:
    root, group, turn = toy_pages()
    assert root.commands == (("group", "Several things."),)
    assert group.summary == "Several things."
    assert turn.name == "holdfast group turn"
    assert turn.usage == "holdfast group turn [OPTIONS] THING"
    assert turn.summary == "Turn a thing."
    assert turn.paragraphs == ("It may break, so mind it.",)
    assert turn.examples == (
        "holdfast group turn wheel --by 45",
        'holdfast group turn "a b"  # with a space',
    )
    assert turn.arguments == (Entry("THING", "What to turn.", "", required=True),)
    assert turn.options == (
        Entry("--by ANGLE", "Degrees | turns.", "90", required=False),
        Entry("--fast / --slow", "How.", "", required=False),
    )


def test_a_single_example_may_stand_on_the_word_s_own_line() -> None:
    @toy.command("one")
    def _one() -> None:
        """Do one thing.

        Example: holdfast one
        """

    page = next(page for page in toy_pages() if page.name == "holdfast one")
    assert (page.paragraphs, page.examples) == ((), ("holdfast one",))
    toy.registered_commands.pop()


def test_markdown_links_commands_and_keeps_its_tables_whole() -> None:
    text = markdown(toy_pages())
    assert "| [`group`](#holdfast-group) | Several things. |" in text
    assert "| `--by ANGLE` | Degrees \\| turns. Default: `90`. |" in text
    assert "```sh\nholdfast group turn wheel --by 45\n" in text
    assert "secret" not in text


def test_man_pages_are_one_for_each_verb() -> None:
    files = man_pages(toy_pages(), "1.2.3")
    assert sorted(files) == ["holdfast-group.1", "holdfast.1"]
    assert '.TH "HOLDFAST" "1" "" "Holdfast 1.2.3" "Holdfast"' in files["holdfast.1"]
    assert r"\fB\-\-by ANGLE\fR" in files["holdfast-group.1"]
    assert r"holdfast group turn wheel \-\-by 45" in files["holdfast-group.1"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (".so /etc/passwd", "\\&.so /etc/passwd"),
        ("'br", "\\&'br"),
        ("a\\b", "a\\eb"),
        ("--yes", "\\-\\-yes"),
        ("one\n.two", "one .two"),
    ],
)
def test_roff_takes_text_as_text(text: str, wanted: str) -> None:
    assert escape(text) == wanted


def all_pages() -> tuple[Page, ...]:
    register()
    return tuple(pages(typer.main.get_command(app)))


def test_the_page_in_the_repository_is_current() -> None:
    kept = (REPOSITORY / "docs" / "cli.md").read_text(encoding="utf-8")
    assert kept == markdown(all_pages()), "docs/cli.md is not what the commands say: run make docs"


def test_the_man_pages_in_the_repository_are_current() -> None:
    kept = {file.name: file.read_text(encoding="utf-8") for file in (REPOSITORY / "man").glob("*.1")}
    wanted = man_pages(all_pages(), __version__)
    assert sorted(kept) == sorted(wanted), "man/ does not hold one page for each verb: run make docs"
    stale = [name for name, text in wanted.items() if kept[name] != text]
    assert not stale, f"{stale} are not what the commands say: run make docs"
