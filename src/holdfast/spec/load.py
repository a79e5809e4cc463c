"""Spec files become a spec: read, laid over one another, checked whole, each value with where it came from.

The first source is the base, later ones are overlays. All faults of all files are found before anything is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from holdfast.spec.advice import known_ids
from holdfast.spec.cache import Spec
from holdfast.spec.fault import Fault, Path, SpecInvalid, in_reading_order, path_text
from holdfast.spec.model import FLAWS
from holdfast.spec.units import FROM_FILE
from holdfast.spec.wording import flaws_of, model_at, nearest_of, say

if TYPE_CHECKING:
    from holdfast.spec.document import Document, Mark

_MOST_FAULTS = 200
_MOST_ROUNDS = 12


@dataclass(frozen=True)
class SpecSource:
    """One file's name and content."""

    name: str
    text: bytes | str


@dataclass(frozen=True)
class Origin:
    """Where a value of a spec came from."""

    file: str | None
    """None: it is the default."""
    line: int = 0
    """From 1; 0 where the place in the file was not kept."""
    column: int = 0

    @property
    def text(self) -> str:
        """`cache.yaml:12:5`, `spec.json` or `default`."""
        if self.file is None:
            return "default"
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


DEFAULT = Origin(None)


@dataclass(frozen=True)
class LoadedSpec:
    """A spec, and what is known about how it was written."""

    spec: Spec
    provenance: Mapping[str, Origin]
    """For each value of `to_document(spec)`, by its path as text, where it came from."""
    digest: str
    """SHA-256 over the whole spec, defaults included: equal for equal caches, however they were written."""
    files: tuple[str, ...]


def load_spec(sources: Sequence[SpecSource]) -> LoadedSpec:
    """Read a base and its overlays. Raises SpecInvalid, with all faults, when they are not one valid cache."""
    from holdfast.spec.document import merged, read_document  # most commands read JSON, and no YAML

    documents = [read_document(source.name, source.text) for source in sources]
    files = tuple(document.file for document in documents)
    faults = [fault for document in documents for fault in document.faults]
    faults += _overlays_for_another_cache(documents)
    data, marks = merged(documents)
    unread = any(document.faults and not document.data for document in documents)
    spec: Spec | None = None
    if not unread:  # of half a text, only its own fault is worth telling
        spec, found = _validated(data)
        faults += [_located(finding, marks, files) for finding in found]
        faults += _unknown_advice(data, marks, files)
    if faults or spec is None:
        raise SpecInvalid(in_reading_order(faults, files)[:_MOST_FAULTS])
    document = to_document(spec)
    return LoadedSpec(spec, _provenance(document, data, marks), digest_of(document), files)


def load_document(file: str, text: bytes) -> LoadedSpec:
    """Read back what `to_document` gave, as JSON; many times faster than `load_spec`, which it turns to for what is wrong.

    Raises: SpecInvalid.
    """
    try:
        spec = Spec.model_validate(json.loads(text), by_alias=True, by_name=False, context={FROM_FILE: True})
    except ValueError:  # not JSON, or not a spec: the slow reader says where
        return load_spec([SpecSource(file, text)])
    document = to_document(spec)
    origins = {path_text(path): Origin(file) for path in _leaves(document, ())}
    return LoadedSpec(spec, origins, digest_of(document), (file,))


def to_document(spec: Spec) -> dict[str, Any]:
    """The spec as a file would write it, defaults included; `Spec.model_validate` reads it back."""
    return spec.model_dump(mode="json", by_alias=True, exclude_none=True)


def digest_of(document: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of a document."""
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


@dataclass(frozen=True)
class _Finding:
    """What is wrong at a path that may or may not be written in a file."""

    path: Path
    message: str
    hint: str
    about_key: bool = False
    """Whether the key itself is wrong, and not its value."""


def _validated(data: dict[str, Any]) -> tuple[Spec | None, list[_Finding]]:
    """The spec, or everything that is wrong with it.

    A model whose values are wrong is never asked for contradictions. So what was found wrong is left out and the
    rest is tried again, until no new contradiction comes up; one that only comes from leaving out is not told.
    """
    rest = deepcopy(data)
    findings: list[_Finding] = []
    left_out: list[Path] = []
    for round_number in range(_MOST_ROUNDS):
        try:
            spec = Spec.model_validate(rest, by_alias=True, by_name=False, context={FROM_FILE: True})
        except ValidationError as wrong:
            errors = wrong.errors(include_url=False)
        else:
            return (spec if not findings else None), findings
        before = tuple(left_out)
        for error in errors:
            at, is_key = _place_of(error, data)
            told = [
                flaw for flaw in flaws_of(error) if not _comes_from_leaving_out(flaw.needs, at, data, before)
            ]
            findings += [_Finding((*at, *flaw.at), flaw.message, flaw.hint) for flaw in told]
            worth_words = round_number == 0 and len(findings) < _MOST_FAULTS  # a millisecond each
            if worth_words and error["type"] != FLAWS and not _follows_from_another(error, errors):
                message, hint = say(error, at, written=None if is_key else _at(data, at))
                about_key = is_key or error["type"] == "extra_forbidden"
                findings.append(_Finding(at, message, hint, about_key))
            at_flaws = [
                (*at, *flaw.at) for flaw in flaws_of(error) if flaw.at and _has(rest, (*at, *flaw.at))
            ]
            left_out += at_flaws or [at[:-1] if error["type"] == "missing" else at]
        if not _drop(rest, left_out[len(before) :]) and "cache" in rest:
            break
        rest.setdefault("cache", {}).setdefault("name", "unnamed")  # the one value without a default
    return None, findings


def _place_of(error: ErrorDetails, data: dict[str, Any]) -> tuple[Path, bool]:
    """Where an error is, and whether it is about the key there: pydantic says that by a last part `[key]`."""
    loc = error["loc"]
    is_key = loc[-1:] == ("[key]",) and not _has(data, loc)
    return (loc[:-1] if is_key else loc), is_key


def _follows_from_another(error: ErrorDetails, errors: Sequence[ErrorDetails]) -> bool:
    """A list that is too short because its items are wrong."""
    at = error["loc"]
    return error["type"] == "too_short" and any(
        other["loc"][: len(at)] == at and other is not error for other in errors
    )


def _comes_from_leaving_out(needs: Path, model: Path, data: dict[str, Any], left_out: Sequence[Path]) -> bool:
    if needs:
        return _has(data, needs) and any(_touch(path, needs) for path in left_out)
    return any(path[: len(model)] == model for path in left_out)


def _touch(one: Path, other: Path) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _has(data: Any, path: Path) -> bool:
    for part in path:
        inside = (
            part in data if isinstance(data, dict) else isinstance(data, list) and part in range(len(data))
        )
        if not inside:
            return False
        data = data[part]
    return True


def _drop(data: dict[str, Any], paths: Sequence[Path]) -> bool:
    """Take the values at these paths out; whether any was there. List items go from the last to the first."""
    dropped = False
    for path in sorted(set(paths), key=lambda path: [str(part).rjust(8) for part in path], reverse=True):
        there = path
        while there and not _has(data, there):  # `tls: requird` is reported at tls.mode
            there = there[:-1]
        if there and (there == path or not isinstance(_at(data, there), dict | list)):
            del _at(data, there[:-1])[there[-1]]
            dropped = True
    return dropped


def _located(finding: _Finding, marks: Mapping[Path, Mark], files: Sequence[str]) -> Fault:
    """A finding with the place of the value or key, or of the nearest one above that was written."""
    path = finding.path
    for length in range(len(path), 0, -1):
        mark = marks.get(path[:length])
        if mark is not None:
            at_key = finding.about_key or length < len(path)
            line, column = (mark.key_line, mark.key_column) if at_key else (mark.line, mark.column)
            return Fault(mark.file, line, column, path_text(path), finding.message, finding.hint)
    return Fault(files[0] if files else "", 0, 0, path_text(path), finding.message, finding.hint)


def _overlays_for_another_cache(documents: Sequence[Document]) -> Iterator[Fault]:
    if not documents:
        return
    base = documents[0]
    base_name = _cache_name(base)
    for overlay in documents[1:]:
        name = _cache_name(overlay)
        if base_name is not None and name is not None and name != base_name:
            mark = overlay.marks["cache", "name"]
            yield Fault(
                overlay.file,
                mark.line,
                mark.column,
                "cache.name",
                f"this overlay is for cache {name}, but {base.file} is {base_name}",
                "an overlay cannot rename a cache: use the overlay that belongs to it",
            )


def _cache_name(document: Document) -> str | None:
    cache = document.data.get("cache")
    name = cache.get("name") if isinstance(cache, dict) else None
    return name if isinstance(name, str) else None


def _unknown_advice(
    data: Mapping[str, Any], marks: Mapping[Path, Mark], files: Sequence[str]
) -> Iterator[Fault]:
    accepted = data.get("accept")
    for advice_id in accepted if isinstance(accepted, dict) else ():
        if advice_id not in known_ids():
            hint = nearest_of(advice_id, sorted(known_ids()))
            yield _located(
                _Finding(("accept", advice_id), "there is no such advice", hint, about_key=True), marks, files
            )


def _provenance(
    document: Mapping[str, Any], data: Mapping[str, Any], marks: Mapping[Path, Mark]
) -> dict[str, Origin]:
    found: dict[str, Origin] = {}
    for path in _leaves(document, ()):
        mark = marks.get(path)
        if mark is None and _is_scalar_for(path, data):
            mark = marks.get(path[:-1])
        found[path_text(path)] = Origin(mark.file, mark.line, mark.column) if mark else DEFAULT
    return found


def _is_scalar_for(path: Path, data: Mapping[str, Any]) -> bool:
    """Whether the file writes one scalar for a whole section, and `path` is the key that it stands for."""
    model = model_at(path[:-1])
    written = _at(data, path[:-1])
    return model is not None and model.scalar_key == path[-1] and not isinstance(written, dict | None)


def _leaves(value: Mapping[str, Any], above: Path) -> Iterator[Path]:
    for key, inner in value.items():
        if isinstance(inner, dict) and inner:
            yield from _leaves(inner, (*above, key))
        else:
            yield (*above, key)


def _at(data: Any, path: Path) -> Any:
    """The value at `path`, or None."""
    for part in path:
        inside = isinstance(data, dict) or (isinstance(data, list) and isinstance(part, int))
        data = data[part] if inside and _has(data, (part,)) else None
    return data
