"""Every key of a spec file as Markdown tables: its default, what it means; and every piece of advice."""

import inspect
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from holdfast.spec.advice import RULES
from holdfast.spec.cache import Spec
from holdfast.spec.meaning import meanings
from holdfast.spec.model import Model
from holdfast.spec.wording import choices_of, inner_model


def reference() -> str:
    """The tables, one for each map of keys, in the order of a file, and one of the advice."""
    return "\n".join(["## Every key\n", *_tables(Spec, ""), "## Every piece of advice\n", *_advice()])


def _advice() -> Iterator[str]:
    yield "| id | severity | what | why | what to do | source |"
    yield "|---|---|---|---|---|---|"
    for rule in sorted(RULES, key=lambda rule: rule.id):
        cells = (rule.id, rule.severity.value, rule.title, rule.why, rule.do, rule.source)
        yield f"| {' | '.join(_cell(text) for text in cells)} |"
    yield ""


def _tables(model: type[Model], path: str) -> Iterator[str]:
    if path:
        yield f"### `{path}`\n"
    yield f"{' '.join((inspect.getdoc(model) or '').split())}\n"
    yield "| key | default | meaning |"
    yield "|---|---|---|"
    defaults = model.model_construct().model_dump(mode="json", by_alias=True)
    inside: list[tuple[type[Model], str]] = []
    for name, field in model.model_fields.items():
        key = field.alias or name
        below, is_map = inner_model(field.annotation)
        meaning = meanings(model).get(name, "")
        choices = choices_of(field.annotation)
        if choices is not None:
            meaning += f" One of: {_choices(choices)}."
        if below is not None:
            inside.append((below, f"{path}.{key}".lstrip(".") + (".NAME" if is_map else "")))
        default = "required" if field.is_required() else "map" if below else _default(defaults.get(key))
        yield f"| `{key}` | {default} | {_cell(meaning)} |"
    yield ""
    for below, below_path in inside:
        yield from _tables(below, below_path)


def _choices(choices: type[StrEnum]) -> str:
    return ", ".join(f"`{choice.value}`" for choice in choices)


def _default(value: Any) -> str:
    match value:
        case None:
            return "none"
        case "" | {}:
            return "empty"
        case bool():
            return f"`{str(value).lower()}`"
        case list():
            return f"`[{', '.join(map(str, value))}]`" if value else "empty"
        case _:
            return f"`{value}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
