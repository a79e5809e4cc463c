"""The page's tables of what becomes of each type, made from the translation table: `python -m tests.unit.codec.fates` writes
them into docs/rdb.md.
"""

from __future__ import annotations

from pathlib import Path

from holdfast.codec.rdb import types
from holdfast.codec.rdb.dialect import DIALECTS
from holdfast.codec.rdb.translate import Fate, Rule, translate, translate_parts

PAGE = Path(__file__).resolve().parents[3] / "docs" / "rdb.md"
BEGIN, END = "<!-- fates: begin -->\n", "<!-- fates: end -->\n"
TARGETS = (
    "redis-6.2",
    "redis-7.0",
    "redis-7.2",
    "redis-8.0",
    "redis-8.6",
    "redis-8.8",
    "valkey-8.1",
    "valkey-9.1",
)
"""One of each group of engines that read alike."""
ALIKE = {
    "redis-6.2": "Redis 5.0 to 6.2",
    "redis-7.0": "Redis 7.0",
    "redis-7.2": "Redis 7.2",
    "redis-8.0": "Redis 7.4 to 8.4",
    "redis-8.6": "Redis 8.6",
    "redis-8.8": "Redis 8.8",
    "valkey-8.1": "Valkey 7.2 to 8.1",
    "valkey-9.1": "Valkey 9.0, 9.1",
}
SOURCES = ("redis-8.8", "valkey-9.1")
"""Between them they hold every type there is."""


def tables() -> str:
    """One table for each source."""
    return "\n".join(_table(source) for source in SOURCES)


def _table(source: str) -> str:
    heads = ["From " + ALIKE[source], *(f"to {ALIKE[target]}" for target in TARGETS)]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    rules = {target: translate(DIALECTS[source], DIALECTS[target]) for target in TARGETS}
    for number in rules[TARGETS[0]]:
        cells = [_cell(number, rules[target][number]) for target in TARGETS]
        lines.append("| " + " | ".join([f"{_name(number, source)} ({number})", *cells]) + " |")
    parts = {target: translate_parts(DIALECTS[source], DIALECTS[target]) for target in TARGETS}
    for part in parts[TARGETS[0]]:
        cells = [_cell(-1, parts[target][part]) for target in TARGETS]
        lines.append("| " + " | ".join([part.replace("-", " "), *cells]) + " |")
    return "\n".join(lines) + "\n"


def _name(number: int, source: str) -> str:
    return "hash with field TTLs" if source.startswith("valkey") and number == 22 else types.NAME_OF[number]


def _cell(number: int, rule: Rule) -> str:
    if rule.fate is Fate.CARRY:
        return "as it is"
    if rule.fate is Fate.LOSE:
        return f"**lost** ({', '.join(rule.reasons)})" if rule.reasons else "left out"
    reasons = f", loses {', '.join(rule.reasons)}" if rule.reasons else ""
    return f"as {' or '.join(map(str, rule.to))}{reasons}"


def main() -> None:
    """Write the tables into the page."""
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}{tables()}{END}{after}")


if __name__ == "__main__":
    main()
