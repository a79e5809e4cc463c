"""Pydantic's findings in a person's words: what is wrong, what was meant, and what a value may be."""

import difflib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from holdfast.spec.cache import FORMAT, Spec
from holdfast.spec.fault import Path, path_text
from holdfast.spec.model import FLAWS, Flaw, Model
from holdfast.spec.names import NAME_RULES
from holdfast.spec.units import duration_text, size_text

_KINDS = {
    "int_type": "a whole number is wanted",
    "int_parsing": "a whole number is wanted",
    "int_from_float": "a whole number is wanted",
    "float_type": "a number is wanted",
    "float_parsing": "a number is wanted",
    "bool_type": "true or false is wanted",
    "bool_parsing": "true or false is wanted",
    "string_type": "a text is wanted",
    "model_type": "a map of keys is wanted",
    "model_attributes_type": "a map of keys is wanted",
    "dict_type": "a map of names is wanted",
    "mapping_type": "a map of names is wanted",
    "tuple_type": "a list is wanted",
    "is_instance_of": "a text is wanted",
    "finite_number": "a finite number is wanted",
}
_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}
_LENGTHS = {
    "too_short": ("min_length", "at least", "items are"),
    "too_long": ("max_length", "at most", "items are"),
    "string_too_short": ("min_length", "at least", "characters are"),
    "string_too_long": ("max_length", "at most", "characters are"),
}
_MOST_LISTED = 12


def flaws_of(error: ErrorDetails) -> tuple[Flaw, ...]:
    """The contradictions that a model reported, or none for another kind of error."""
    return tuple(error["ctx"]["flaws"]) if error["type"] == FLAWS else ()


def say(error: ErrorDetails, path: Path, written: object) -> tuple[str, str]:
    """Message and hint of one error that is not a contradiction.

    Args: `path`, its place in the file; `written`, the value as the file has it, None where that is not known.
    """
    context = error.get("ctx", {})
    kind = error["type"]
    given = error["input"] if written is None else written
    if kind == "extra_forbidden":
        return "unknown key", _nearest_key(path)
    if kind == "missing":
        hint = "begin with cache: {name: NAME}" if path[0] == "cache" else ""
        return "this key is missing", hint
    if kind in {"value_error", "assertion_error"}:
        return str(context.get("error", error["msg"])), ""
    if kind == "string_pattern_mismatch":
        rule = NAME_RULES.get(context["pattern"])
        return (
            f"{shown(given)} is not allowed here",
            f"use {rule}" if rule else f"it must match {context['pattern']}",
        )
    if kind in {"enum", "literal_error"}:
        return _not_one_of(path, given, str(context["expected"]))
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return f"{shown(given)} is out of bounds", f"write {words} {_in_unit(path, context[name])}"
    if kind in _KINDS:
        hint = "put it in quotes" if kind == "string_type" and isinstance(given, int | float) else ""
        return f"{_KINDS[kind]}, not {shown(given)}", hint
    if kind in _LENGTHS:
        name, words, what = _LENGTHS[kind]
        wanted = what.replace("s are", " is") if context[name] == 1 else what
        return f"{words} {context[name]} {wanted} wanted", ""
    return error["msg"], ""


def shown(given: object) -> str:
    """A value for a message: short, and maps and lists by their kind only."""
    if isinstance(given, Mapping):
        return "a map"
    if isinstance(given, list | tuple):
        return "a list"
    if given is None:
        return "nothing"
    if isinstance(given, bool):
        return str(given).lower()
    spelt = repr(given)
    return spelt if len(spelt) <= 60 else f"{spelt[:57]}..."


def _not_one_of(path: Path, given: object, expected: str) -> tuple[str, str]:
    if path == ("format",):
        return (
            f"format {shown(given)} is not known",
            f"this Holdfast reads format {FORMAT}; a newer one may read more",
        )
    known = [word.strip("' ") for word in expected.replace(" or ", ", ").split(",")]
    nearest = difflib.get_close_matches(str(given), known, n=1)
    listed = f"one of {', '.join(known)}"
    return (
        f"{shown(given)} is not known here",
        f"did you mean {nearest[0]}? It is {listed}" if nearest else f"write {listed}",
    )


def nearest_of(wrong: str, known: Sequence[str]) -> str:
    """A hint that names the known word nearest to `wrong`, or all of them."""
    nearest = difflib.get_close_matches(wrong, known, n=1)
    return f"did you mean {nearest[0]}?" if nearest else f"known: {', '.join(known)}"


def _nearest_key(path: Path) -> str:
    """The key that was probably meant: one of this section, or the same key in another."""
    wrong = str(path[-1])
    model = model_at(path[:-1])
    known = list(_keys(model)) if model else []
    for name, field in model.model_fields.items() if model else ():
        if wrong == name and field.alias:
            return f"it is written {field.alias}, with the unit in the value"
    nearest = difflib.get_close_matches(wrong, known, n=1, cutoff=0.6)
    if nearest:
        return f"did you mean {nearest[0]}?"
    elsewhere = [found for found in _paths_of_keys(Spec) if found[-1] == wrong]
    if elsewhere:
        return f"did you mean {path_text(elsewhere[0])}?"
    if len(known) > _MOST_LISTED:
        return "holdfast spec schema lists what is known"
    return f"known here: {', '.join(known)}" if known else ""


def _keys(model: type[Model]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield field.alias or name


def _paths_of_keys(model: type[Model], above: Path = ()) -> Iterator[Path]:
    for name, field in model.model_fields.items():
        path = (*above, field.alias or name)
        yield path
        inner, is_map = inner_model(field.annotation)
        if inner is not None:
            yield from _paths_of_keys(inner, (*path, "NAME") if is_map else path)


def models(root: type[Model] = Spec) -> Iterator[type[Model]]:
    """`root` and every model inside it, each once."""
    waiting, seen = [root], {root}
    while waiting:
        model = waiting.pop(0)
        yield model
        for field in model.model_fields.values():
            inner, _ = inner_model(field.annotation)
            if inner is not None and inner not in seen:
                seen.add(inner)
                waiting.append(inner)


def inner_model(annotation: Any) -> tuple[type[Model] | None, bool]:
    """The model inside an annotation, and whether it is the value of a map."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation, False
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return inner_model(args[0])
    if origin in {typing.Union, types.UnionType}:
        return next((found for found in map(inner_model, args) if found[0]), (None, False))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return inner_model(args[1])[0], True
    return None, False


def choices_of(annotation: Any) -> type[StrEnum] | None:
    """The enumeration inside an annotation, where it has one."""
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return annotation
    return next((found for part in typing.get_args(annotation) if (found := choices_of(part))), None)


def field_at(path: Path) -> tuple[str, FieldInfo] | None:
    """Name and field of the model's field that `path` leads to."""
    model = model_at(path[:-1]) if path else None
    for name, field in model.model_fields.items() if model else ():
        if path[-1] == (field.alias or name):
            return name, field
    return None


def model_at(path: Path) -> type[Model] | None:
    """The model whose keys stand below `path`."""
    model: type[Model] | None = Spec
    in_map: type[Model] | None = None
    for part in path:
        if in_map is not None:
            model, in_map = in_map, None
            continue
        if model is None:
            return None
        field = next(
            (field for name, field in model.model_fields.items() if part == (field.alias or name)), None
        )
        inner, is_map = inner_model(field.annotation) if field else (None, False)
        model, in_map = (None, inner) if is_map else (inner, None)
    return model


def _in_unit(path: Path, bound: float) -> str:
    """A bound as the file would write it."""
    known = field_at(path)
    name = known[0] if known else ""
    if name.endswith("_bytes"):
        return size_text(int(bound))
    if name.endswith("_ms"):
        return duration_text(bound)
    if name.endswith("_s") and not name.endswith("per_s"):
        return duration_text(bound * 1000)
    if name.endswith("_days"):
        return f"{bound:g}d"
    return f"{bound:g}%" if name.endswith("_percent") else f"{bound:g}"
