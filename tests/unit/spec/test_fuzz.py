"""The phonebill file with random damage: it is read or refused, and nothing else; a place is known for each fault."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from holdfast.spec.advice import advice
from holdfast.spec.fault import Fault, SpecInvalid
from holdfast.spec.listing import listing
from holdfast.spec.load import SpecSource, load_spec

EXAMPLE = Path(__file__).parents[3] / "examples/phonebill/cache.yaml"
WHOLE: dict[str, Any] = YAML(typ="safe", pure=True).load(EXAMPLE.read_text())
JUNK: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    10**30,
    "",
    "none",
    "x",
    "5s",
    "5",
    [],
    [1],
    [[]],
    {},
    {"a": 1},
    {"": 1},
    "*",
]
JUNK += [
    "{x}",
    "a:{x}:{y}",
    "0.0.0.0/0",
    "::",
    "any",
    "\x7f",
    "\u00e9",
    "[key]",
    "A" * 5000,
    "local",
    "sentinel",
]
DELETED = object()


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if above:
        yield above
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inner:
        yield from places(below, (*above, key))


PLACES = list(places(WHOLE))
DAMAGE = st.lists(
    st.tuples(
        st.sampled_from(PLACES),
        st.sampled_from(["", "x", "name", "[key]", "a.b"]),
        st.sampled_from([*JUNK, DELETED]),
    ),
    min_size=1,
    max_size=4,
)


def damaged(damage: list[tuple[tuple[Any, ...], str, Any]]) -> dict[str, Any]:
    whole = copy.deepcopy(WHOLE)
    for path, new_key, junk in damage:
        holder: Any = whole
        try:
            for part in path[:-1]:
                holder = holder[part]
            if junk is DELETED:
                del holder[path[-1]]
            else:
                holder[new_key if new_key and isinstance(holder, dict) else path[-1]] = copy.deepcopy(junk)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier damage took the place away
    return whole


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(DAMAGE)
def test_a_damaged_file_is_read_or_refused(damage: list[tuple[tuple[Any, ...], str, Any]]) -> None:
    text = json.dumps(damaged(damage))
    faults: tuple[Fault, ...] = ()
    try:
        loaded = load_spec([SpecSource("f", text)])
    except SpecInvalid as refused:
        faults = refused.faults
    else:
        advice(loaded.spec)
        assert load_spec([SpecSource("g", listing(loaded))]).digest == loaded.digest
    assert all(fault.line for fault in faults if fault.path != "cache")
