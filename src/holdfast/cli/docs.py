"""`holdfast docs`: the documentation that is made from the commands' own help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.app import app

docs_app = typer.Typer(help="Write the commands' help as documentation.", no_args_is_help=True)
app.add_typer(docs_app, name="docs", hidden=True)


@docs_app.command("cli")
def cli(
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Where to write; default: stdout.")
    ] = None,
) -> None:
    """Write all commands as one Markdown page.

    \b
    Examples:
      holdfast docs cli --output docs/cli.md
    """
    from holdfast.cli import console
    from holdfast.cli.markdown import markdown
    from holdfast.cli.pages import pages

    text = markdown(pages(typer.main.get_command(app)))
    if output is None:
        console.out(text.rstrip())
    else:
        output.write_text(text, encoding="utf-8")


@docs_app.command("man")
def man(
    output: Annotated[
        Path, typer.Option("--output", metavar="FOLDER", help="Where to write; made when missing.")
    ] = Path("man"),
) -> None:
    """Write the man pages: holdfast.1, and one for each verb.

    Pages of verbs that are no more are removed from the folder; other files in it stay.

    \b
    Examples:
      holdfast docs man --output man
      man ./man/holdfast.1
    """
    from holdfast import __version__
    from holdfast.cli.pages import pages
    from holdfast.cli.roff import man_pages

    files = man_pages(pages(typer.main.get_command(app)), __version__)
    output.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (output / name).write_text(text, encoding="utf-8")
    for gone in output.glob("holdfast*.1"):
        if gone.name not in files:
            gone.unlink()
