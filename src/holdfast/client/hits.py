"""The way to a hit in the first tier, made for one namespace or decorated function: one look is all that it calls.

A hit costs about as much as Python's own bookkeeping for the call, so its method is made for the namespace's fields: they
are parameters, and the key is one expression. What a field holds need not be judged here: only sound keys are kept, so
a key that could not be one is not found, and is judged by whoever is asked next.
"""

from __future__ import annotations

import functools
import inspect
import keyword
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from holdfast.client.kept import GONE, is_compiled
from holdfast.client.verbs import Verbs

_METHOD = """\
def make(_look, _entries, _clock, _gone, _given, _ask):
    {prefix}def {name}({first}key=None, {parameters}read=None, within_s=None):
        if key is None:
            _key = f{spelt!r} if {plain} else None
        else:
            _key = key if {no_field} else None
        if read is None:
            {look}
        return {wait}_ask({first}key, read=read, within_s=within_s, **_given({{{fields}}}))
    return {name}
"""
_FUNCTION = """\
def make(_look, _entries, _clock, _gone, _given, _ask):
    {prefix}def {name}({parameters}):
        _key = f{spelt!r} if {plain} else None
        if _key is not None:
            {look}
        return {wait}_ask(**_given({{{fields}}}))
    return {name}
"""
_CALLED = """\
if (_value := _look(_key)) is not _gone:
                return _value"""
_WRITTEN_OUT = """\
try:
                _entry = _entries[_key]
                if (_now := _clock()) < _entry.until and _now < _entry.trust.until:
                    _entry.hits += 1
                    return _entry.value
            except (KeyError, TypeError):
                pass"""
"""The same as `View.look`: where that is not compiled, calling it costs a third of a hit."""


def compiled(verbs: Verbs, asked: Callable[..., Any]) -> Any:
    """`get` or `get_or_load` of one namespace, with its fields as parameters.

    Args: `asked`, the method that does the same by asking, blocking or a coroutine function; it is called when there
        is no hit, and is returned itself where nothing is gained (the namespace is not in the first tier) or no
        parameters can be made of the fields.
    """
    pattern = verbs.family.pattern
    unfit = pattern.clashing or pattern.ambiguous or any(map(keyword.iskeyword, pattern.fields))
    if not verbs.family.in_l1 or unfit:
        return asked
    method = _made(_METHOD, verbs, pattern.fields, asked, asked.__name__)
    method.__doc__, method.__qualname__ = asked.__doc__, f"{verbs.family.name}.{asked.__name__}"
    return method


def decorated(verbs: Verbs, function: Callable[..., Any], asked: Callable[..., Any]) -> Any:
    """A function whose parameters are the key's fields, as `compiled` makes the methods.

    Args: `asked`, the function that does the same by asking, blocking or a coroutine function; it is returned itself
        where nothing is gained or a parameter is of another kind (`self`, by position or by keyword only).
    """
    pattern, parameters = verbs.family.pattern, inspect.signature(function).parameters
    usual = all(each.kind is each.POSITIONAL_OR_KEYWORD for each in parameters.values())
    if not verbs.family.in_l1 or not usual or pattern.ambiguous or set(parameters) != set(pattern.fields):
        return asked
    return functools.update_wrapper(_made(_FUNCTION, verbs, tuple(parameters), asked, "decorated"), function)


def _made(
    source: str, verbs: Verbs, parameters: tuple[str, ...], asked: Callable[..., Any], name: str
) -> Any:
    pattern = verbs.family.pattern
    spelt = pattern.spelt({field: field for field in pattern.fields})
    make = _maker(source, parameters, spelt, name, inspect.iscoroutinefunction(asked))
    view = verbs.shared.l1.view(verbs.values)
    return make(view.look, view.entries, monotonic, GONE, _given, asked)


def _given(fields: Mapping[str, object]) -> Mapping[str, object]:
    """Those of the parameters that the caller gave."""
    return {name: value for name, value in fields.items() if value is not ...}


@functools.lru_cache(1024)
def _maker(template: str, fields: tuple[str, ...], spelt: str, name: str, awaits: bool) -> Callable[..., Any]:
    source = template.format(
        look=_CALLED if is_compiled() else _WRITTEN_OUT,
        prefix="async " if awaits else "",
        wait="await " if awaits else "",
        name=name,
        first="loader, " if name == "get_or_load" else "",
        parameters="".join(f"{field}=..., " for field in fields),
        spelt=spelt,
        plain=" and ".join(f"({each}.__class__ is str or {each}.__class__ is int)" for each in fields)
        or "True",
        no_field=" and ".join(f"{field} is ..." for field in fields) or "True",
        fields=", ".join(f"{field!r}: {field}" for field in fields),
    )
    scope: dict[str, Callable[..., Any]] = {}
    # As in keys: field names are identifiers and literals are written by repr.
    exec(compile(source, f"<{name} of {spelt}>", "exec"), scope)  # noqa: S102
    return scope["make"]
