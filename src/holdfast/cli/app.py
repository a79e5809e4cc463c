"""The command tree's root and the options that every command shares; commands add themselves to `app`.

A command's module imports only this, typer and the standard library at its top: what it needs to do its work
it imports inside, so that `holdfast --help` stays fast. Its docstring is its help, its man page and its part of
docs/cli.md: a sentence, paragraphs, and at the end, after a line with `\\b`, `Examples:` and one command on each line.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from holdfast.cli.terminal import HELP_OPTIONS

app = typer.Typer(
    name="holdfast",
    help="Runs Redis and Valkey like a managed service, on machines you own.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": HELP_OPTIONS},
)


def _json(asked: bool) -> bool:
    from holdfast.cli import console

    return console.expect_json(asked)


AsJson = Annotated[
    bool, typer.Option("--json", callback=_json, is_eager=True, help="Print the same facts as JSON.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
CacheArgument = Annotated[
    str, typer.Argument(metavar="CACHE", help="A spec file, or the name of a cache that is up.")
]
Place = Annotated[
    str | None,
    typer.Option("--place", help="Merge the overlay FILE.PLACE.yaml (default: local, where it exists)."),
]

Surge = Annotated[
    bool,
    typer.Option(
        "--surge",
        help="Where nodes must be restarted: give each shard a spare replica first; it leaves afterwards.",
    ),
]
AllowPause = Annotated[
    bool,
    typer.Option(
        "--allow-pause",
        help="Restart a primary that has no replica, too: its clients wait for as long as the plan says.",
    ),
]


def _print_version(asked: bool) -> None:
    if asked:
        from holdfast import __version__
        from holdfast.cli import console

        console.out(f"holdfast {__version__}")
        raise typer.Exit(0)


@app.callback()
def _common(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and log what is done.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop."),
    ] = False,
) -> None:
    from holdfast.cli import console
    from holdfast.host.platform import refuse_unsupported

    console.set_debug(debug)
    if context.invoked_subcommand and not set(HELP_OPTIONS) & set(sys.argv[1:]):
        refuse_unsupported(sys.platform, context.invoked_subcommand)
