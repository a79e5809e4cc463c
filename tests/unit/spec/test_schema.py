"""The schema, the reference and `docs/spec.md` say what the models say."""

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from holdfast.spec.reference import reference
from holdfast.spec.schema import json_schema

ROOT = Path(__file__).parents[3]


def fits(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    """The small part of JSON Schema that ours uses."""
    if "$ref" in schema:
        return fits(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root)
    if "anyOf" in schema:
        return any(fits(value, form, root) for form in schema["anyOf"])
    if "const" in schema:
        return bool(value == schema["const"])
    if "enum" in schema:
        return value in schema["enum"]
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if isinstance(value, dict):
        known = schema.get("properties", {})
        more = schema.get("additionalProperties", True)
        if "object" not in kinds or not set(schema.get("required", ())) <= set(value):
            return False
        return all(
            fits(inner, known[key], root)
            if key in known
            else more is not False and (more is True or fits(inner, more, root))
            for key, inner in value.items()
        )
    if isinstance(value, list):
        return "array" in kinds and all(fits(item, schema.get("items", {}), root) for item in value)
    if isinstance(value, bool):
        return "boolean" in kinds
    if isinstance(value, str):
        return "string" in kinds and re.search(schema.get("pattern", ""), value) is not None
    if isinstance(value, int | float):
        in_bounds = schema.get("minimum", value) <= value <= schema.get("maximum", value)
        return ("number" in kinds or ("integer" in kinds and isinstance(value, int))) and in_bounds
    return False


def test_the_example_fits_the_schema_and_a_misspelt_one_does_not() -> None:
    schema = json_schema()
    example = YAML(typ="safe", pure=True).load((ROOT / "examples/phonebill/cache.yaml").read_text())
    assert fits(example, schema, schema)
    for path, wrong in (
        (("topology", "mode"), "clster"),
        (("memory", "maxmemory"), "much"),
        (("topology", "node_timeout"), 15),
        (("cache", "nam"), "x"),
    ):
        broken = {**example, path[0]: {**example[path[0]], path[1]: wrong}}
        assert not fits(broken, schema, schema), path


def test_the_schema_says_the_short_forms_and_defaults_with_units() -> None:
    schema = json_schema()
    assert fits("required", schema["$defs"]["TlsSpec"], schema)
    assert fits("10.0.0.0/8", schema["$defs"]["AllowRule"], schema)
    assert schema["$defs"]["TopologySpec"]["properties"]["node_timeout"]["default"] == "5s"
    assert schema["$defs"]["MemorySpec"]["properties"]["maxmemory"]["description"].startswith(
        "Data that one node"
    )


def test_every_key_is_documented() -> None:
    rows = [line for line in reference().splitlines() if line.startswith("| `")]
    assert len(rows) > 150
    assert [row for row in rows if row.rstrip().endswith("| |")] == []


def test_the_page_has_the_reference_as_it_is() -> None:
    page = (ROOT / "docs/spec.md").read_text()
    assert page.endswith(reference().rstrip() + "\n"), (
        "holdfast spec schema --markdown has changed: renew the end of docs/spec.md"
    )
