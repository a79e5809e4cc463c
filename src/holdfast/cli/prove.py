"""`holdfast prove`: every promise of a spec measured on the live cache; and what two runs differ in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.app import AsJson, Place, app


@app.command()
def prove(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CACHE | diff A B",
            help="A spec file or the name of a cache that is up (default: the only one); or `diff` and two runs.",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="FAMILY|ID", help="Only these checks; may be repeated."),
    ] = None,
    seconds: Annotated[
        str, typer.Option("--for", metavar="TIME", help="How long each load counts: 5s, 60s.")
    ] = "5s",
    most: Annotated[
        str,
        typer.Option(
            "--most", metavar="LEVEL", help="Disturb at most this much: harmless, load, disruptive."
        ),
    ] = "disruptive",
    disrupt: Annotated[
        bool,
        typer.Option(
            "--disrupt",
            help="Also kill nodes of a cache that is not `place: local`; asks for the cache's name.",
        ),
    ] = False,
    url: Annotated[
        str,
        typer.Option(
            "--url",
            help="Run the harmless checks on a cache that Holdfast did not start: rediss://HOST:PORT. CACHE is its spec.",
        ),
    ] = "",
    user: Annotated[str, typer.Option("--user", help="With --url: the user to log in as.")] = "",
    password_file: Annotated[
        Path | None, typer.Option("--password-file", help="With --url: a file with the password.")
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option("--ca-file", help="With --url: the authority to trust.")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FOLDER", help="Folder for the evidence; default: in the state folder."),
    ] = None,
    list_checks: Annotated[
        bool, typer.Option("--list", help="List all checks, what they do and what they answer.")
    ] = False,
    json: AsJson = False,
    place: Place = None,
) -> None:
    """Measure on the live cache what its spec promises, and keep the evidence.

    Each check is an experiment with a verdict: kept, not kept, not provable here (with the reason and what would make it
    provable) or skipped. A cache with `place: local` has its nodes killed, halted and switched too; every key that is
    written holds the word hfprove and is removed, every node is put back. The evidence is a folder with evidence.json,
    report.html and junit.xml.

    Exit code 4 when a promise is not kept, 1 when a check itself failed. `diff` ends with 4 when a promise that was kept
    in the first run is not kept in the second.

    \b
    Examples:
      holdfast prove examples/phonebill/cache.yaml
      holdfast prove phonebill-cache-prod --only performance --for 60s
      holdfast prove cache.yaml --url rediss://cache.example.net:6380 --user app --password-file app.password
      holdfast prove diff evidence-monday evidence-tuesday
    """
    from holdfast.cli import proving
    from holdfast.cli.quantities import time_option

    given = words or []
    if list_checks:
        proving.list_all(as_json=json)
    elif given[:1] == ["diff"]:
        proving.diff(given[1:], as_json=json)
    else:
        proving.prove(
            proving.Asked(
                words=given,
                only=tuple(only or ()),
                load_s=time_option("--for", seconds),
                most=most,
                disrupt=disrupt,
                url=url,
                user=user,
                password_file=password_file,
                ca_file=ca_file,
                to=to,
                place=place,
            ),
            as_json=json,
        )
