"""A whole spec as YAML, each value with a comment that says where it came from."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from holdfast.spec.fault import Path, path_text
from holdfast.spec.load import DEFAULT, LoadedSpec, to_document

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./:@-]*[A-Za-z0-9_/]|[A-Za-z]", re.ASCII)
_WITH_UNIT = re.compile(r"\d+(\.\d+)?(ms|[smhdw]|[kmgt]?b|%)", re.ASCII)
_NOT_TEXT = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
_COMMENT_COLUMN = 60


def listing(loaded: LoadedSpec) -> str:
    """YAML that reads back as the same spec."""
    return "".join(f"{line}\n" for line in _lines(to_document(loaded.spec), (), loaded))


def _lines(values: Mapping[str, Any], above: Path, loaded: LoadedSpec) -> Iterator[str]:
    for key, value in values.items():
        path = (*above, key)
        head = "  " * len(above) + f"{_scalar(key)}:"
        if isinstance(value, dict) and value:
            yield head
            yield from _lines(value, path, loaded)
        else:
            origin = loaded.provenance.get(path_text(path), DEFAULT)
            yield f"{head} {_flow(value)}".ljust(_COMMENT_COLUMN) + f"  # {origin.text}"


def _flow(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_flow(item) for item in value)}]"
    if isinstance(value, dict):
        return "{}"
    return _scalar(value)


def _scalar(value: object) -> str:
    plain = isinstance(value, str) and (_PLAIN.fullmatch(value) or _WITH_UNIT.fullmatch(value))
    if isinstance(value, str) and plain and value.lower() not in _NOT_TEXT:
        return value
    return re.sub(r"[^\x20-\x7e]", _visible, json.dumps(value, ensure_ascii=False))


def _visible(character: re.Match[str]) -> str:
    """The character, or its YAML escape where a reader would refuse it or a person not see it."""
    only = character[0]
    code = ord(only)
    return only if only.isprintable() else f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}"
