"""What each field of a model means: the text below it in the source.

Pydantic can read these texts itself, at every import; here they are read when somebody asks for the documentation.
"""

import ast
import inspect
import textwrap
from functools import cache

from holdfast.spec.model import Model


@cache
def meanings(model: type[Model]) -> dict[str, str]:
    """Field name -> the text below the field, on one line; fields of base models included."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, Model) and base is not Model:
            found |= _texts(base)
    return {name: text for name, text in found.items() if name in model.model_fields}


def _texts(model: type[Model]) -> dict[str, str]:
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        match field, below:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = " ".join(text.split())
    return found
