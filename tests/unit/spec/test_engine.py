"""Which versions a range allows."""

import pytest

from holdfast.spec.engine import EngineSpec, VersionRange


@pytest.mark.parametrize(
    ("text", "allowed", "refused"),
    [
        ("any", [(6, 2, 0), (9, 1, 2)], []),
        ("8.0", [(8, 0, 0), (8, 0, 9)], [(8, 1, 0), (7, 9, 9), (9, 0, 0)]),
        ("8", [(8, 0, 0), (8, 9, 9)], [(9, 0, 0)]),
        ("8.1.2", [(8, 1, 2)], [(8, 1, 3)]),
        (">=8.0 <10", [(8, 0, 0), (9, 9, 9)], [(7, 9, 9), (10, 0, 0)]),
        (">=8.0, <10", [(9, 1, 2)], [(10, 0, 1)]),
        ("<=9", [(9, 9, 9), (8, 0, 0)], [(10, 0, 0)]),
        ("> 8.0", [(8, 1, 0)], [(8, 0, 9), (8, 0, 0)]),
    ],
)
def test_a_range_allows_what_it_says(
    text: str, allowed: list[tuple[int, int, int]], refused: list[tuple[int, int, int]]
) -> None:
    wanted = VersionRange.parse(text)
    assert all(wanted.allows(version) for version in allowed)
    assert not any(wanted.allows(version) for version in refused)
    assert VersionRange.parse(wanted.text) == wanted


@pytest.mark.parametrize("text", ["", "new", "8.x", ">=", "8.0.0.0", ">=8 nonsense", "1234567"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a version range"):
        VersionRange.parse(text)


def test_a_number_is_refused_because_it_has_lost_its_last_zero() -> None:
    with pytest.raises(ValueError, match="write it in quotes"):
        EngineSpec.model_validate({"version": 8.10})
    assert EngineSpec.model_validate({"version": 8}).version.text == "8"
