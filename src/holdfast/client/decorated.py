"""What `cached` reads off the function that it decorates."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable
from typing import Any

from holdfast.client.errors import NamespaceInvalid
from holdfast.client.verbs import Verbs


def fields_of(verbs: Verbs, function: Callable[..., Any]) -> tuple[Callable[..., dict[str, Any]], Any]:
    """For a decorated function: how its arguments become the key's fields, and what it returns.

    Raises: NamespaceInvalid when its parameters are not the pattern's fields: a result that depends on more than its
        key would be handed to the wrong caller.
    """
    signature = inspect.signature(function)
    names = [name for name in signature.parameters if name not in ("self", "cls")]
    fields = verbs.family.pattern.fields
    if set(names) != set(fields):
        raise NamespaceInvalid(
            verbs.family.name,
            f"{function.__qualname__} takes {', '.join(names) or 'nothing'}, and its keys have {', '.join(fields) or 'no fields'}",
        )
    skip = len(signature.parameters) - len(names)
    defaults = {
        name: each.default for name, each in signature.parameters.items() if each.default is not each.empty
    }

    def taken(*args: Any, **kwargs: Any) -> dict[str, Any]:
        given = defaults | dict(zip(names, args[skip:], strict=False)) | kwargs
        if len(args) - skip > len(names):
            raise TypeError(f"{function.__qualname__} takes {len(names)} arguments")
        return given

    try:
        returned = typing.get_type_hints(function).get("return")
    except NameError:
        returned = None
    if typing.get_origin(returned) in (typing.Union, types.UnionType):
        kinds = [each for each in typing.get_args(returned) if each is not type(None)]
        returned = kinds[0] if len(kinds) == 1 else returned
    return taken, returned
