"""From decoded JSON to dataclasses and what they are commonly made of, by their type hints; compiled once per type."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any, Union, get_args, get_origin
from uuid import UUID

Read = Callable[[Any], Any]
_BY_TEXT: dict[Any, Read] = {
    datetime: datetime.fromisoformat,
    date: date.fromisoformat,
    time: time.fromisoformat,
    UUID: UUID,
    Decimal: Decimal,
}


class Unshapeable(TypeError):
    """A type hint that values cannot be read back into."""


def reader_of(hint: Any, _known: dict[Any, Read] | None = None) -> Read:
    """A function from a decoded value to `hint`; it raises TypeError or ValueError for a value of another shape.

    Raises: Unshapeable.
    """
    known = {} if _known is None else _known
    if hint in (Any, object):
        return lambda value: value
    if hint is None or hint is type(None):
        return _none
    if hint in known:
        return lambda value: known[hint](value)  # a type that holds itself
    if is_dataclass(hint) and isinstance(hint, type):
        known[hint] = lambda value: value
        known[hint] = _dataclass_reader(hint, known)
        return known[hint]
    if hint in _BY_TEXT:
        return _from_text(_BY_TEXT[hint])
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint
    if hint is float:
        return _number
    if hint in (str, int, bool, dict, list):
        return _exactly(hint)
    return _generic(hint, known)


def _generic(hint: Any, known: dict[Any, Read]) -> Read:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _one_of([reader_of(each, known) for each in arguments])
    if origin in (list, Sequence, set, frozenset) and len(arguments) == 1:
        make: Any = list if origin is Sequence else origin
        item = reader_of(arguments[0], known)
        return lambda value: make([item(each) for each in _exactly(list)(value)])
    if origin is tuple and arguments:
        items = [reader_of(each, known) for each in arguments if each is not Ellipsis]
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return lambda value: tuple(items[0](each) for each in _exactly(list)(value))
        return lambda value: tuple(
            read(each) for read, each in zip(items, _exactly(list)(value), strict=True)
        )
    if origin in (dict, Mapping) and len(arguments) == 2 and arguments[0] is str:
        held = reader_of(arguments[1], known)
        return lambda value: {name: held(each) for name, each in _exactly(dict)(value).items()}
    if origin is typing.Literal:
        return _literal(arguments)
    raise Unshapeable(f"values cannot be read back into {hint!r}; use a dataclass or a pydantic model")


def _dataclass_reader(kind: Any, known: dict[Any, Read]) -> Read:
    try:
        hints = typing.get_type_hints(kind)
    except NameError as unknown:
        raise Unshapeable(f"the hints of {kind.__name__} cannot be read: {unknown}") from unknown
    readers = {each.name: reader_of(hints[each.name], known) for each in fields(kind) if each.init}
    needed = {
        each.name
        for each in fields(kind)
        if each.init and each.default is MISSING and each.default_factory is MISSING
    }

    def read(value: Any) -> Any:
        given = _exactly(dict)(value)
        if missing := needed - given.keys():
            raise TypeError(f"{kind.__name__} wants {', '.join(sorted(missing))}")
        # Fields that only the other version knows are left out, so that two versions can share a cache.
        return kind(**{name: readers[name](each) for name, each in given.items() if name in readers})

    return read


def _exactly(kind: type) -> Read:
    def read(value: Any) -> Any:
        if type(value) is not kind:
            raise TypeError(f"{type(value).__name__} where {kind.__name__} is kept")
        return value

    return read


def _none(value: Any) -> None:
    if value is not None:
        raise TypeError(f"{type(value).__name__} where nothing is kept")


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError(f"{type(value).__name__} where a number is kept")
    return float(value)


def _from_text(make: Callable[[str], Any]) -> Read:
    def read(value: Any) -> Any:
        if not isinstance(value, str):
            raise TypeError(f"{type(value).__name__} where text is kept")
        return make(value)

    return read


def _one_of(readers: list[Read]) -> Read:
    def read(value: Any) -> Any:
        for each in readers:
            try:
                return each(value)
            except (TypeError, ValueError, ArithmeticError):
                continue
        raise TypeError(f"{type(value).__name__} fits none of its kinds")

    return read


def _literal(allowed: tuple[Any, ...]) -> Read:
    def read(value: Any) -> Any:
        if value not in allowed:
            raise ValueError(f"{value!r} is none of {allowed}")
        return value

    return read
