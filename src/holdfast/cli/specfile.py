"""Spec files from disk: the file that was named and the overlay for the place that was chosen."""

from __future__ import annotations

import errno
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError, WrongUsage
from holdfast.spec.document import LARGEST_BYTES
from holdfast.spec.load import SpecSource

if TYPE_CHECKING:
    from holdfast.spec.load import LoadedSpec

LOCAL = "local"
"""The place whose overlay is used when none is named."""
NO_OVERLAY = "none"
"""The word for the file alone."""
_PLACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", re.ASCII)


@dataclass(eq=False)
class SpecUnreadable(HoldfastError):
    """A spec file could not be read; nothing was changed."""

    path: str
    why: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path} {self.why}, so nothing was done; {self.instead}"


def load_file(path: str | Path, place: str | None = None) -> LoadedSpec:
    """The spec in a file and its overlay. Raises SpecUnreadable, WrongUsage or SpecInvalid."""
    from holdfast.spec.load import load_spec

    return load_spec(read_sources(path, place))


def read_sources(path: str | Path, place: str | None = None) -> tuple[SpecSource, ...]:
    """The base file and, where there is one, the overlay for `place`, read and not yet understood.

    `cache.yaml` has its overlays beside it: `cache.PLACE.yaml`. Without a place, that for `local` is used where it
    exists; `none` means the file alone.
    """
    base = Path(path)
    _refuse_an_overlay_alone(base)
    sources = [SpecSource(str(base), _read(base))]
    overlay = _overlay(base, place)
    if overlay is not None:
        sources.append(SpecSource(str(overlay), _read(overlay)))
    return tuple(sources)


def read_text(path: Path, kind: str = "a spec") -> str:
    """One file as text. Args: `kind`, what it is to be. Raises SpecUnreadable, also for what is too large or not UTF-8."""
    try:
        content = _read(path)
    except SpecUnreadable as unread:
        raise SpecUnreadable(unread.path, unread.why, f"name the file of {kind}") from None
    if len(content) > LARGEST_BYTES:
        raise SpecUnreadable(
            str(path), f"has more than {LARGEST_BYTES} bytes", f"{kind} is smaller than that"
        )
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise SpecUnreadable(str(path), "is not UTF-8 text", "save it as UTF-8") from None


def overlay_path(base: Path, place: str) -> Path:
    """`cache.yaml`, `local` -> `cache.local.yaml`, beside it."""
    return base.with_name(f"{base.stem}.{place}{base.suffix}")


def _overlay(base: Path, place: str | None) -> Path | None:
    if place is None:
        local = overlay_path(base, LOCAL)
        return local if local.exists() else None
    if place == NO_OVERLAY:
        return None
    if _PLACE.fullmatch(place) is None:
        raise WrongUsage(f"{place!r} is not the name of a place", "use letters, digits, '-' and '_'")
    overlay = overlay_path(base, place)
    if not overlay.exists():
        pattern = f"{base.stem}.*{base.suffix}"
        known = sorted(found.stem.removeprefix(f"{base.stem}.") for found in base.parent.glob(pattern))
        instead = (
            f"there are overlays for {', '.join(known)}"
            if known
            else "leave --place out: there is no overlay"
        )
        raise WrongUsage(f"there is no {overlay}", instead)
    return overlay


def _refuse_an_overlay_alone(path: Path) -> None:
    stem, dot, place = path.stem.rpartition(".")
    base = path.with_name(stem + path.suffix) if dot and stem else path
    if base != path and _PLACE.fullmatch(place) and base.exists():
        raise WrongUsage(f"{path} is an overlay of {base}", f"name the whole: {base} --place {place}")


def _read(path: Path) -> bytes:
    """At most one byte more than a spec may have, so that the reader can say that it is too much."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            what = "is a folder" if path.is_dir() else "is not a regular file"
            raise SpecUnreadable(str(path), what, "name a spec file, for example cache.yaml")
        with path.open("rb") as file:
            return file.read(LARGEST_BYTES + 1)
    except FileNotFoundError:
        raise SpecUnreadable(str(path), "does not exist", "holdfast init writes one") from None
    except PermissionError:
        raise SpecUnreadable(str(path), "may not be read by this user", f"see ls -l {path}") from None
    except (OSError, ValueError) as failed:
        code = failed.errno if isinstance(failed, OSError) else None
        why = "has too long a name" if code == errno.ENAMETOOLONG else f"cannot be read ({failed})"
        raise SpecUnreadable(str(path)[:200], why, "name a spec file, for example cache.yaml") from None
