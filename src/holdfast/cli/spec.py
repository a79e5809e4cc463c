"""`holdfast init`, `check` and `spec`: write a spec file, judge it, see what it means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli import console
from holdfast.cli.app import AsJson, Place, app
from holdfast.cli.exit import ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from holdfast.spec.advice import Finding
    from holdfast.spec.cache import Spec
    from holdfast.spec.load import LoadedSpec

SpecFile = Annotated[str, typer.Argument(metavar="FILE", help="A spec file, for example cache.yaml.")]

spec_app = typer.Typer(
    help="What a spec file may say, what one means, and older ones.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(spec_app, name="spec")


@app.command()
def init(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="The file to write, or a folder for its cache.yaml.")
    ] = Path("cache.yaml"),
    example: Annotated[
        str | None, typer.Option("--from", metavar="EXAMPLE", help="Write a full example: phonebill.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    json: AsJson = False,
) -> None:
    """Write a spec file: four lines to begin with, or a full example.

    \b
    Examples:
      holdfast init
      holdfast init shop.yaml
      holdfast init --from phonebill /srv/phonebill/
    """
    from holdfast.cli.example import example_files
    from holdfast.cli.specfile import overlay_path
    from holdfast.cli.writing import write_files

    target = path / "cache.yaml" if path.is_dir() else path
    if example is None:
        files = {target: _first_spec(target)}
    else:
        base, overlay = example_files(example).values()
        files = {target: base, overlay_path(target, "local"): overlay}
    write_files(files, replace=force)
    written = [str(file) for file in files]
    console.show(
        {"written": written, "next": f"holdfast check {target}"},
        f"Wrote {' and '.join(written)}\nNext: holdfast check {target}",
        as_json=json,
    )


@app.command()
def check(file: SpecFile, place: Place = None, json: AsJson = False) -> None:
    """Judge FILE: its faults, all at once, and advice on what will hurt.

    Advice that is known and lived with is named in the file under `accept`, with a reason. Exit code 1 when the file
    has faults, 6 when it draws advice of severity error that is not accepted, else 0.

    \b
    Examples:
      holdfast check cache.yaml
      holdfast check cache.yaml --place production
      holdfast check cache.yaml --place none    (the file alone)
      holdfast check cache.yaml --json
    """
    from holdfast.cli.specfile import load_file
    from holdfast.spec.advice import advice, needless_acceptances
    from holdfast.spec.fault import SpecInvalid

    try:
        loaded = load_file(file, place)
    except SpecInvalid as invalid:
        if not json:
            raise
        faults = [vars(fault) for fault in invalid.faults]
        console.show({"valid": False, "faults": faults}, "", as_json=True)
        raise typer.Exit(ExitCode.FAILED) from None
    findings = advice(loaded.spec)
    needless = needless_acceptances(loaded.spec)
    unenforced = _address_rules_not_enforced(loaded.spec)
    facts = {
        "valid": True,
        "cache": loaded.spec.cache.name,
        "files": loaded.files,
        "digest": loaded.digest,
        "advice": [_facts(finding) for finding in findings],
        "needless_acceptances": needless,
        "not_enforced": {"network.allow": unenforced} if unenforced else {},
    }
    console.show(facts, lambda screen: _tell(screen, loaded, findings, needless, unenforced), as_json=json)
    raise typer.Exit(ExitCode.ADVICE if any(finding.refuses for finding in findings) else ExitCode.OK)


@spec_app.command("schema")
def schema(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the same for people, as a table of every key.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Print the JSON Schema of a spec file, for editors; or a table of every key.

    \b
    Examples:
      holdfast spec schema > cache.schema.json
      holdfast spec schema --markdown
      (first line of cache.yaml)  # yaml-language-server: $schema=cache.schema.json
    """
    from holdfast.spec.reference import reference
    from holdfast.spec.schema import json_schema

    if markdown and not json:
        console.out(reference().rstrip())
        return
    console.show(json_schema(), "", as_json=True)


@spec_app.command("show")
def show(file: SpecFile, place: Place = None, json: AsJson = False) -> None:
    """Print the merged whole: every value, and whether a file or a default says so.

    The text is itself a spec file that means the same.

    \b
    Examples:
      holdfast spec show cache.yaml
      holdfast spec show cache.yaml --place none | grep -v '# default'
    """
    from holdfast.cli.specfile import load_file
    from holdfast.spec.listing import listing
    from holdfast.spec.load import to_document

    loaded = load_file(file, place)
    if not json:
        console.out(f"# {' + '.join(loaded.files)}\n# digest {loaded.digest}\n{listing(loaded)}".rstrip())
        return
    origins = {path: origin.text for path, origin in loaded.provenance.items()}
    facts = {
        "files": loaded.files,
        "digest": loaded.digest,
        "spec": to_document(loaded.spec),
        "origins": origins,
    }
    console.show(facts, "", as_json=True)


@spec_app.command("upgrade")
def upgrade(
    file: SpecFile,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change; write nothing.")] = False,
    json: AsJson = False,
) -> None:
    """Rewrite FILE to the newest format; comments and order stay, the old text is kept beside it.

    \b
    Examples:
      holdfast spec upgrade cache.yaml --dry-run
      holdfast spec upgrade cache.yaml
    """
    from holdfast.cli.specfile import read_text
    from holdfast.cli.writing import replace_keeping_old
    from holdfast.spec.upgrade import upgrade as upgraded

    before = read_text(Path(file))
    after = upgraded(file, before)
    kept = replace_keeping_old(Path(file), before, after.text) if after.changes and not dry_run else None
    facts = {"file": file, "changes": after.changes, "written": kept is not None, "kept": kept and str(kept)}
    if not after.changes:
        text = f"{file} is of the newest format; nothing to do"
    else:
        outcome = f"The old text is kept in {kept}" if kept else "Nothing was written (--dry-run)"
        text = "\n".join([f"{file}: {change}" for change in after.changes] + [outcome])
    console.show(facts, text, as_json=json)


def _first_spec(target: Path) -> bytes:
    from holdfast.spec.beginning import beginning, name_from

    return beginning(name_from(target.absolute().parent.name)).encode()


def _address_rules_not_enforced(spec: Spec) -> str:
    """Why `network.allow` would keep nobody out here; empty where it would, or where nothing is asked."""
    from holdfast.host.firewall import what_lacks
    from holdfast.host.nftables import loopback_only
    from holdfast.spec.place import PlaceKind

    here = spec.place.kind is PlaceKind.LOCAL and bool(spec.network.allow)
    return what_lacks() if here and not loopback_only(spec.network.bind) else ""


def _facts(finding: Finding) -> dict[str, Any]:
    rule = finding.rule
    concerned = [
        {"path": path, "detail": detail} for path, detail in zip(finding.paths, finding.details, strict=True)
    ]
    return {
        "id": rule.id,
        "severity": rule.severity,
        "title": rule.title,
        "concerns": concerned,
        "why": rule.why,
        "do": rule.do,
        "source": rule.source,
        "accepted": finding.accepted,
    }


def _tell(
    screen: Console,
    loaded: LoadedSpec,
    findings: tuple[Finding, ...],
    needless: tuple[str, ...],
    unenforced: str,
) -> None:
    from rich.text import Text

    from holdfast.spec.hint import AdviceSeverity

    styles = {AdviceSeverity.ERROR: "bold red", AdviceSeverity.WARN: "yellow", AdviceSeverity.INFO: "cyan"}
    screen.print(Text(f"{' + '.join(loaded.files)}: {_summary(loaded.spec)}"))
    for finding in findings:
        rule = finding.rule
        accepted = finding.accepted is not None
        style = "dim" if accepted else styles[rule.severity]
        word = "accepted" if accepted else rule.severity.value
        screen.print(Text.assemble("\n", (f"{word:<9}", style), f"{rule.id}  {rule.title}"))
        for path, detail in zip(finding.paths, finding.details, strict=True):
            screen.print(Text(f"         {path}: {detail}"))
        if accepted:
            screen.print(Text.assemble(("         because ", "dim"), finding.accepted or ""))
        else:
            screen.print(Text.assemble(("         why    ", "dim"), rule.why))
            screen.print(Text.assemble(("         do     ", "dim"), rule.do))
            screen.print(Text.assemble(("         source ", "dim"), rule.source))
    for advice_id in needless:
        screen.print(Text(f"\nnote     accept names {advice_id}, which this spec does not draw"))
    if unenforced:
        screen.print(Text(f"\nnote     network.allow would not be enforced here: {unenforced}"))
    refused = sum(finding.refuses for finding in findings)
    open_ones = sum(finding.accepted is None for finding in findings)
    counted = f"{open_ones} of {len(findings)} pieces of advice are open" if findings else "no advice"
    end = f"{refused} must be mended or accepted" if refused else "nothing stands in the way"
    screen.print(Text(f"\n{counted}; {end}"))


def _summary(spec: Spec) -> str:
    topology = spec.topology
    nodes = f"{topology.shards} x {1 + topology.replicas} nodes" if topology.nodes > 1 else "one node"
    zones = f" over {len(topology.zones)} zones" if len(topology.zones) > 1 else ""
    services, namespaces = len(spec.services), len(spec.keyspace.namespaces)
    return (
        f"valid; cache {spec.cache.name}, {topology.mode.value}, {nodes}{zones}, place {spec.place.kind.value}, "
        f"services: {services}, namespaces: {namespaces}"
    )
