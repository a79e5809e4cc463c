"""`holdfast compare`: two keyspaces, key by key, both ways."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.app import AsJson, app
from holdfast.cli.exit import ExitCode

if TYPE_CHECKING:
    from holdfast.engine.connection import Endpoint
    from holdfast.migrate.ends import Side as Which


@app.command()
def compare(
    first: Annotated[
        str, typer.Argument(metavar="A", help="A spec file, the name of a cache that is up, or a URL.")
    ],
    second: Annotated[str, typer.Argument(metavar="B", help="The other, named in the same ways.")],
    database: Annotated[
        list[str] | None,
        typer.Option("--database", metavar="A=B", help="Compare database A with B only; may be given again."),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", metavar="PREFIX", help="Leave keys out that begin so; may be given again."),
    ] = None,
    a_auth_file: Annotated[
        str,
        typer.Option("--a-auth-file", help="File with A's password, or user and password on two lines."),
    ] = "",
    b_auth_file: Annotated[str, typer.Option("--b-auth-file", help="The same for B.")] = "",
    a_ca: Annotated[
        str, typer.Option("--a-ca", help="PEM file of the authority that a rediss:// A is trusted by.")
    ] = "",
    b_ca: Annotated[str, typer.Option("--b-ca", help="The same for B.")] = "",
    ttl_ms: Annotated[int, typer.Option("--ttl-ms", min=0, help="How far TTLs may be apart.")] = 1000,
    settle_s: Annotated[
        float, typer.Option("--settle-s", min=0.1, help="Longer than B lags A, where B follows it.")
    ] = 1.0,
    added_ms: Annotated[
        float, typer.Option("--added-ms", min=0.1, help="How much longer A may answer others meanwhile.")
    ] = 3.0,
    keys_per_s: Annotated[
        float, typer.Option("--keys-per-s", min=1, help="Never read faster than this.")
    ] = 10_000_000.0,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state", help="File to keep how far it is; an interrupted comparison goes on from it."
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Compare all keys of A and B, both ways, with full values, TTLs, field TTLs and consumer groups; change neither.

    Works while both are written to: what differs is looked at again until it settles, and keys that are never at rest are
    told apart. Exit code 5 when data differs, with a list.

    \b
    Examples:
      holdfast compare redis://10.0.0.5:6379 cart
      holdfast compare cache.yaml redis://10.0.0.9:6379 --database 1=0 --state compare.json
    """
    import asyncio
    import json as js

    from holdfast.cli.comparison_views import comparison_text, watching
    from holdfast.cli.console import show
    from holdfast.compare.judge import Tolerance
    from holdfast.compare.options import Options
    from holdfast.compare.pace import PaceLimits
    from holdfast.compare.report import Report, StateUnreadable
    from holdfast.compare.run import Comparison
    from holdfast.compare.settle import Patience
    from holdfast.compare.side import Side
    from holdfast.migrate.ends import Side as End
    from holdfast.state import write_private

    options = Options(
        tolerance=Tolerance(ttl_ms=ttl_ms),
        patience=Patience(settle_s=settle_s, give_up_s=max(20.0, 10 * settle_s)),
        pace=PaceLimits(added_ms, keys_per_s),
        databases=_pairs(database),
        ignore=tuple(prefix.encode() for prefix in ignore or ()),
    )
    before = Report()
    if state is not None and state.exists():
        try:
            before = Report.resumed(js.loads(state.read_text()))
        except ValueError as broken:
            raise StateUnreadable(f"{state}: {broken}") from broken

    async def work() -> Report:
        one = await Side.open(await _endpoints(End.SOURCE, first, a_auth_file, a_ca))
        try:
            other = await Side.open(await _endpoints(End.TARGET, second, b_auth_file, b_ca))
            try:
                with watching(quiet=json) as look:

                    def keep(report: Report) -> None:
                        if state is not None:
                            write_private(state.absolute(), js.dumps(report.state()))
                        look(report)

                    return await Comparison(one, other, options, before, keep).run()
            finally:
                other.close()
        finally:
            one.close()

    report = asyncio.run(work())
    if state is not None:
        state.unlink(missing_ok=True)
    show(report.facts(), comparison_text(f"{first} and {second}", report), as_json=json)
    if report.different or report.changing:
        raise typer.Exit(ExitCode.DATA_DIFFERS)


async def _endpoints(which: Which, text: str, auth_file: str, ca: str) -> list[Endpoint]:
    from holdfast.cli.opening import named
    from holdfast.migrate.ends import Certificates, looks_like_url
    from holdfast.migrate.resolve import Wanted, resolve
    from holdfast.state import StateFolder

    if not looks_like_url(text):
        text = named(text).loaded.spec.cache.name
    end = await resolve(Wanted(which, text, auth_file, Certificates(ca)), StateFolder.open())
    return [end.endpoint(address) for address in end.servers]


def _pairs(given: list[str] | None) -> dict[int, int] | None:
    from holdfast.errors import WrongUsage

    if not given:
        return None
    found: dict[int, int] = {}
    for text in given:
        one, equals, other = text.partition("=")
        if not equals or not one.isdigit() or not other.isdigit():
            raise WrongUsage(f"--database {text} names no two databases", "write --database 1=0")
        found[int(one)] = int(other)
    return found
