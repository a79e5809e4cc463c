"""The look into memory: what it serves and what not; the same by both builds."""

from __future__ import annotations

import os
import sys
import time

import pytest

from holdfast.client import kept
from holdfast.client.kept import GONE, NEVER, Entry, Trust, View

IS_WRITTEN = "tests.unit.codec.written" in sys.modules
AFTER = 3600.0


class Name(str):
    """Text that is more than text: it could compare as it likes."""


def view(until: float = AFTER, trusted: float = AFTER) -> View:
    """With the key `a`, which may be served for so many seconds."""
    now = time.monotonic()
    made = View()
    made.entries["a"] = Entry({"n": 1}, made, now + until, Trust(now + trusted), 100)
    return made


def test_which_build_this_is() -> None:
    assert kept.is_compiled() == (not str(kept.__file__).endswith(".py"))
    if IS_WRITTEN:
        assert not kept.is_compiled()
    elif os.environ.get("HOLDFAST_REQUIRE_COMPILED") == "1":
        assert kept.is_compiled()


def test_a_hit_gives_the_very_value_and_is_counted() -> None:
    looked = view()
    assert looked.look("a") is looked.look("".join(["a"])) is looked.entries["a"].value
    assert looked.entries["a"].hits == 2


@pytest.mark.parametrize("key", ["b", "", None, ..., 1, b"a", ["a"], {"a"}, Name("a")], ids=repr)
def test_what_is_no_key_of_it_is_not_found(key: object) -> None:
    looked = view()
    assert looked.look(key) is GONE
    assert looked.entries["a"].hits == 0


@pytest.mark.parametrize(
    ("until", "trusted"), [(-0.001, AFTER), (AFTER, -0.001), (NEVER, AFTER), (AFTER, NEVER)]
)
def test_what_has_ended_or_is_not_vouched_for_is_not_served(until: float, trusted: float) -> None:
    looked = view(until, trusted)
    assert looked.look("a") is GONE
    assert looked.entries["a"].hits == 0


@pytest.mark.parametrize("ends", ["entry", "trust"])
def test_an_end_that_is_near_is_held_against_the_exact_clock(ends: str) -> None:
    """The coarse clock of the compiled build is up to a tick behind: it may decide only what is far off."""
    served = 0
    for _ in range(50):
        looked = view(0.003, AFTER) if ends == "entry" else view(AFTER, 0.003)
        entry = looked.entries["a"]
        end = entry.until if ends == "entry" else entry.trust.until
        while True:
            before = time.monotonic()
            if looked.look("a") is GONE:
                assert time.monotonic() >= end, "it was refused too soon"
                break
            assert before < end, "it was served too long"
            served += 1
    assert served > 50


def test_trust_that_ends_ends_all_that_was_read_under_it_at_once() -> None:
    looked = view()
    assert looked.look("a") is not GONE
    looked.entries["a"].trust.until = NEVER
    assert looked.look("a") is GONE


def test_a_remembered_absence_is_a_hit() -> None:
    looked = view()
    looked.entries["a"].value = None
    assert looked.look("a") is None
    assert Trust().until == NEVER
