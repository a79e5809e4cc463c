"""`holdfast rdb`: look into an RDB file, check it, tell it as JSON, and convert it for another engine."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.app import AsJson, app

if TYPE_CHECKING:
    from rich.console import Console

    from holdfast.codec.rdb.losses import LossReport
    from holdfast.codec.rdb.summary import Summary
    from holdfast.engine.rdb_file import Checked, Converted


class Form(enum.StrEnum):
    """What `--to` can make of a file."""

    JSON = "json"


@app.command()
def rdb(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="An RDB file (dump.rdb) of any Redis or Valkey.")
    ],
    out: Annotated[
        Path | None,
        typer.Argument(metavar="OUT", help="With --convert-to: the file to write; it must not exist."),
    ] = None,
    to: Annotated[
        Form | None,
        typer.Option("--to", help="Print every key with its value, one JSON object on each line."),
    ] = None,
    convert_to: Annotated[
        str | None,
        typer.Option(
            "--convert-to", metavar="ENGINE", help="Write OUT for an engine such as valkey-8.1 to load."
        ),
    ] = None,
    databases: Annotated[
        int | None,
        typer.Option(
            "--databases",
            min=1,
            help="With --convert-to: how many databases the target has; keys beyond are left out.",
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Decode every value and verify the checksum; exit 1 when anything is wrong."
        ),
    ] = False,
    biggest: Annotated[
        int, typer.Option("--biggest", min=0, max=1000, help="How many of the biggest keys to name.")
    ] = 10,
    json: AsJson = False,
) -> None:
    """Look into an RDB file: which engine wrote it, what it holds, whether it is whole; or convert it for another engine.

    Nothing is started and FILE is only read. Any dialect is understood: Redis 2.0 to 8.8 (RDB 1 to 14) and Valkey 7.2 to
    9.1 (RDB 11 and 80). --convert-to writes a file that the named engine loads, for instance what Valkey refuses from Redis
    7.4 and later ("Can't handle RDB format version 12"), and says what could not go over; what has no place there is left
    out and counted, by reason, with examples. Fields of hashes that have expired already are left out where the target knows
    no expiry of fields.

    \b
    Examples:
      holdfast rdb dump.rdb
      holdfast rdb dump.rdb --check
      holdfast rdb dump.rdb --to json | head
      holdfast rdb dump.rdb --convert-to valkey-8.1 valkey.rdb
    """
    from holdfast.cli import console
    from holdfast.cli.exit import ExitCode
    from holdfast.engine import rdb_file
    from holdfast.errors import WrongUsage

    if sum((to is not None, convert_to is not None, check)) > 1:
        raise WrongUsage("--to, --convert-to and --check exclude each other", "give one of them")
    if (out is None) != (convert_to is None):
        raise WrongUsage(
            "rdb looks into one FILE, and a second name, OUT, belongs to --convert-to",
            "holdfast rdb FILE, or holdfast rdb FILE --convert-to valkey-8.1 OUT",
        )
    with rdb_file.naming(file):
        if convert_to is not None and out is not None:
            _convert(file, out, convert_to, databases, as_json=json)
        elif to is not None:
            _print_keys(file)
        elif check:
            checked = rdb_file.check(file)
            console.show(
                _check_facts(file, checked), lambda screen: _show_check(screen, file, checked), as_json=json
            )
            if not checked.is_good:
                raise typer.Exit(ExitCode.FAILED)
        else:
            summary = rdb_file.summary_of(file, biggest)
            console.show(
                _summary_facts(file, summary),
                lambda screen: _show_summary(screen, file, summary),
                as_json=json,
            )


def _convert(file: Path, out: Path, engine: str, databases: int | None, *, as_json: bool) -> None:
    import time

    from holdfast.cli import console
    from holdfast.codec.rdb.dialect import dialect_named
    from holdfast.codec.rdb.rewrite import Target
    from holdfast.codec.rdb.task import Bounds
    from holdfast.engine.rdb_file import convert

    bounds = Bounds(expired_before_ms=int(time.time() * 1000))
    done = convert(file, out, Target(dialect_named(engine), databases, bounds=bounds))
    facts = {
        "file": str(file),
        "out": str(out),
        "source": done.source,
        "target": done.target,
        "keys": done.keys,
        "keys_converted": done.keys_converted,
        "keys_lost": done.keys_lost,
        "bytes_in": done.bytes_in,
        "bytes_out": done.bytes_out,
        "losses": done.losses.to_json(),
    }
    console.show(facts, lambda screen: _show_conversion(screen, out, done), as_json=as_json)


def _print_keys(file: Path) -> None:
    import orjson

    from holdfast.cli import console
    from holdfast.codec.rdb.plain import plain_key
    from holdfast.engine.rdb_file import keys_of

    for key, value in keys_of(file):
        console.out(orjson.dumps(plain_key(key, value)).decode())


def _text(data: bytes) -> str:
    from holdfast.codec.rdb.errors import show_key

    return show_key(data)


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def _keys(count: int) -> str:
    return "1 key" if count == 1 else f"{count} keys"


def _summary_facts(file: Path, summary: Summary) -> dict[str, Any]:
    return {
        "file": str(file),
        "bytes": summary.total_bytes,
        "engine": summary.engine or None,
        "rdb_version": summary.dialect.version if summary.dialect else None,
        "checksum": "right" if summary.has_checksum else "none",
        "keys": summary.total_keys,
        "expiring": summary.total_expiring,
        "hashes_with_field_ttls": summary.hashes_with_field_ttls,
        "functions": summary.functions,
        "modules": dict(summary.modules),
        "module_data": summary.module_data,
        "databases": [
            {
                "db": db,
                "expiring": summary.expiring[db],
                "types": {
                    kind: {"keys": count, "bytes": summary.value_bytes[db, kind]}
                    for (of, kind), count in sorted(summary.keys.items())
                    if of == db
                },
            }
            for db in sorted({db for db, _ in summary.keys})
        ],
        "biggest": [
            {
                "db": each.db,
                "key": each.key.decode(errors="backslashreplace"),
                "type": each.kind,
                "bytes": each.value_bytes,
            }
            for each in summary.biggest
        ],
        "notes": summary.notes,
    }


def _show_summary(screen: Console, file: Path, summary: Summary) -> None:
    from rich.markup import escape
    from rich.table import Table

    version = f"RDB {summary.dialect.version}" if summary.dialect else "RDB"
    writer = f"written by {summary.engine}" if summary.engine else "not saying which engine wrote it"
    checksum = "its checksum is right" if summary.has_checksum else "it has no checksum"
    screen.print(
        escape(f"{file}: {version}, {writer}, {_size(summary.total_bytes)}; it is whole and {checksum}")
    )
    keys, expiring = summary.total_keys, summary.total_expiring
    share = (
        f", {expiring / keys:.0%} of them expire" if expiring else ", none of them expires" if keys else ""
    )
    field_ttls = (
        f", {summary.hashes_with_field_ttls} hashes with field TTLs" if summary.hashes_with_field_ttls else ""
    )
    libraries = "library" if summary.functions == 1 else "libraries"
    functions = f", {summary.functions} function {libraries}" if summary.functions else ""
    screen.print(f"{_keys(keys)}{share}{field_ttls}{functions}")
    for name, count in sorted(summary.modules.items()):
        screen.print(escape(f"{_keys(count)} of the module type {name}"))
    for name in sorted(set(summary.module_data)):
        screen.print(
            escape(
                f"the module type {name} keeps data of its own: only a server with that module loads this file"
            )
        )
    if not keys:
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("DB", "TYPE", "KEYS", "BYTES"):
        table.add_column(heading, justify="left" if heading == "TYPE" else "right")
    for (db, kind), count in sorted(summary.keys.items()):
        table.add_row(str(db), kind, str(count), _size(summary.value_bytes[db, kind]))
    screen.print(table)
    if summary.biggest:
        big = Table(box=None, pad_edge=False)
        for heading in ("BIGGEST", "DB", "TYPE", "KEY"):
            big.add_column(heading, justify="right" if heading in ("BIGGEST", "DB") else "left")
        for each in summary.biggest:
            big.add_row(_size(each.value_bytes), str(each.db), each.kind, escape(_text(each.key)))
        screen.print(big)


def _check_facts(file: Path, checked: Checked) -> dict[str, Any]:
    return {
        "file": str(file),
        "good": checked.is_good,
        "keys": checked.keys,
        "faulty": checked.faulty,
        "faults": checked.faults,
        "not_decoded": checked.too_long,
        "trailing_bytes": checked.trailing_bytes,
    }


def _show_check(screen: Console, file: Path, checked: Checked) -> None:
    from rich.markup import escape

    for fault in checked.faults:
        screen.print(escape(fault))
    if checked.faulty > len(checked.faults):
        screen.print(f"... and {checked.faulty - len(checked.faults)} more")
    if checked.too_long:
        screen.print(f"{checked.too_long} values over 64 MiB were walked but not decoded")
    if checked.trailing_bytes:
        screen.print(f"{checked.trailing_bytes} bytes follow the end; engines ignore them")
    verdict = (
        f"{checked.faulty} of its {checked.keys} keys are damaged"
        if checked.faulty
        else f"good, {_keys(checked.keys)}"
    )
    screen.print(escape(f"{file}: {verdict}"))


def _show_conversion(screen: Console, out: Path, done: Converted) -> None:
    from rich.markup import escape

    kept = done.keys - done.keys_lost
    screen.print(
        escape(
            f"{out}: {kept} of {done.keys} keys, {_size(done.bytes_out)}, for {done.target}; "
            f"{done.keys_converted} values were rewritten, the others are the same bytes"
        )
    )
    _show_losses(screen, done.losses)


def _show_losses(screen: Console, losses: LossReport) -> None:
    from rich.markup import escape

    if not losses:
        screen.print("Nothing was lost or changed.")
        return
    for loss in losses.by_reason.values():
        mark = "LOST" if loss.is_missing else "CHANGED"
        screen.print(escape(f"{mark} {loss.reason}: {loss}"))
        if loss.samples:
            named = ", ".join(f"{_text(key)} (db {db})" for db, key in loss.samples)
            more = ", ..." if loss.keys > len(loss.samples) else ""
            screen.print(escape(f"  for example {named}{more}"))
