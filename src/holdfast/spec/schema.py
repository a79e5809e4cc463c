"""The JSON Schema of a spec file, with which editors complete and check it."""

from collections.abc import Iterator
from typing import Any

from holdfast.spec.cache import Spec
from holdfast.spec.meaning import meanings
from holdfast.spec.model import Model
from holdfast.spec.wording import models

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NOT_JSON_SCHEMA = ("ge", "gt", "le", "lt")


def json_schema() -> dict[str, Any]:
    """The schema of a base file; an overlay is a part of one, so editors should not ask it for `cache`."""
    schema = Spec.model_json_schema(by_alias=True, mode="validation")
    for part in _parts(schema):
        for key in _NOT_JSON_SCHEMA:  # bounds of fields whose text has a unit: the loader checks them
            part.pop(key, None)
    for model in models():
        shape = schema if model is Spec else schema["$defs"][model.__name__]
        whole = next((form for form in shape.get("anyOf", ()) if "properties" in form), shape)
        _say_defaults_with_units(whole, model)
        _say_meanings(whole, model)
        if model.scalar_key is not None:  # the form that stands for that key means the same
            shape["anyOf"][1]["description"] = whole["properties"][model.scalar_key]["description"]
    return {"$schema": SCHEMA_DIALECT, **schema, "title": "Holdfast cache"}


def _say_defaults_with_units(schema: dict[str, Any], model: type[Model]) -> None:
    as_written = model.model_construct().model_dump(mode="json", by_alias=True)
    for key, shape in schema["properties"].items():
        if "default" in shape and as_written.get(key) is not None:
            shape["default"] = as_written[key]


def _say_meanings(schema: dict[str, Any], model: type[Model]) -> None:
    for name, text in meanings(model).items():
        schema["properties"][model.model_fields[name].alias or name]["description"] = text


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Every map inside a schema that describes a value (and not the maps of names between them)."""
    if isinstance(schema, dict):
        if "type" in schema or "anyOf" in schema or "$ref" in schema:
            yield schema
        for inner in schema.values():
            yield from _parts(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _parts(inner)
