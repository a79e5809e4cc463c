"""Older files rewritten, comments and order kept; and the file that `init` begins with."""

import pytest

from holdfast.spec.beginning import beginning, name_from
from holdfast.spec.fault import SpecInvalid
from holdfast.spec.load import SpecSource, load_spec
from holdfast.spec.upgrade import upgrade


def test_a_file_without_a_format_gets_one_before_its_first_key() -> None:
    upgraded = upgrade("f", "# the shop\n\ncache:\n  name: shop # best\n")
    assert upgraded.text == "# the shop\n\nformat: 1\ncache:\n  name: shop # best\n"
    assert upgraded.changes == ("format: 1 was written down",)
    assert upgrade("f", upgraded.text).changes == ()


def test_line_ends_stay_what_they_are() -> None:
    assert upgrade("f", "cache:\r\n  name: shop\r\n").text == "format: 1\r\ncache:\r\n  name: shop\r\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("format: 2\ncache: {name: x}\n", "format 2 is not known"),
        ("{cache: {name: x}}\n", "by hand"),
        ("a: [\n", "not YAML"),
        ("format: null\n", "not known"),
    ],
)
def test_what_cannot_be_upgraded_is_said_and_left(text: str, said: str) -> None:
    with pytest.raises(SpecInvalid, match=said):
        upgrade("f", text)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("shop", "shop"),
        ("My Shop!", "my-shop"),
        ("2026-shop", "shop"),
        ("", "cache"),
        ("---", "cache"),
        ("ä", "cache"),
        ("x" * 60, "x" * 40),
        ("a" * 39 + "-b", "a" * 39),
    ],
)
def test_a_cache_is_called_after_its_folder(folder: str, name: str) -> None:
    assert name_from(folder) == name


def test_the_beginning_is_a_cache_of_four_lines_and_so_are_its_hints() -> None:
    text = beginning("shop")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert len(lines) <= 4
    assert load_spec([SpecSource("f", text)]).spec.cache.name == "shop"
    hints = [
        line.removeprefix("# ")
        for line in text.splitlines()[7:]
        if line.startswith("# ") and not line.startswith("# A full")
    ]
    loaded = load_spec([SpecSource("f", "\n".join([*lines, *hints]))])
    assert list(loaded.spec.services) == ["shop"]
    assert loaded.spec.topology.shards == 3
