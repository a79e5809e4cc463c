"""The record of a cache: written and read again, names that are not given twice, and files nobody should trust."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.topology.drive import Wish, reach
from tests.unit.topology.wishes import nothing, wish

from holdfast.topology.record import CacheRecord, Kind, Member, RecordUnreadable, number_of


def member(name: str, **fields: Any) -> Member:
    kind = Kind.SENTINEL if name.startswith("sentinel") else Kind.SERVER
    given_: dict[str, Any] = {
        "host": "local",
        "zone": "a",
        "address": "127.0.0.1",
        "port": 7100,
        "bus_port": 0,
    } | fields
    return Member(name=name, kind=kind, **given_)


def record(*names: str) -> CacheRecord:
    made = CacheRecord(name="orders", mode="sentinel", engine="valkey-9.1.2@wheel", tls=True)
    for name in names:
        made = made.with_member(member(name))
    return made


def read_again(value: Any) -> CacheRecord:
    return CacheRecord.from_json("/state/record.json", json.loads(json.dumps(value)))


@pytest.mark.parametrize("mode", ["cluster", "sentinel", "standalone"])
def test_what_is_written_is_read_again(mode: str) -> None:
    world = nothing(mode)
    asked = {"shards": 3} if mode == "cluster" else {"replicas": 1} if mode == "sentinel" else {}
    reach(world, Wish.of(wish(mode, **asked)))
    assert read_again(world.record.to_json()) == world.record


def test_a_record_of_an_earlier_holdfast_has_no_numbers_and_is_read() -> None:
    value = record("n1", "n2").to_json()
    del value["numbered"]
    assert read_again(value).next_name("n") == "n3"


def test_names_go_on_from_the_highest_ever_given() -> None:
    made = record("n1", "n2", "n10", "sentinel-3")
    assert made.next_name("n") == "n11"
    assert made.next_name("n", ["n11", "n12"]) == "n13"
    assert made.next_name("sentinel-") == "sentinel-4"
    assert made.without("n10").without("sentinel-3").next_name("n") == "n11"
    assert read_again(made.without("n10").to_json()).next_name("n") == "n11"
    assert CacheRecord("orders", "cluster", "e", False).next_name("n") == "n1"


def test_a_member_takes_its_namesake_s_place() -> None:
    made = record("n1", "n2").with_member(member("n1", zone="b"))
    assert len(made.members) == 2
    assert made.member("n1").zone == "b"


def test_a_member_that_goes_takes_its_users_along() -> None:
    made = record("n1", "n2")
    made = CacheRecord(made.name, made.mode, made.engine, made.tls, made.members, "", {"n1": ("a", "b")})
    assert made.without("n1").acl == {}
    with pytest.raises(KeyError):
        made.without("n1").member("n1")


def test_names_sort_as_people_count() -> None:
    assert sorted(["n10", "n2", "sentinel-1", "n1"], key=number_of) == ["n1", "sentinel-1", "n2", "n10"]


WHOLE: dict[str, Any] = record("n1").to_json()
MEMBER: dict[str, Any] = json.loads(json.dumps(WHOLE))["members"][0]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "its format is 'NoneType'"),
        ([], "its format is 'list'"),
        ({}, "its format is None, not 1"),
        ({**WHOLE, "format": 2}, "its format is 2, not 1"),
        ({"format": 1}, "name is missing"),
        ({**WHOLE, "name": 5}, "'5' stands where a str should be"),
        ({**WHOLE, "mode": "ring"}, "'ring' is not a valid Mode"),
        ({**WHOLE, "tls": "yes"}, "'yes' stands where a bool should be"),
        ({**WHOLE, "members": {}}, "'{}' stands where a list should be"),
        ({**WHOLE, "members": "n1"}, "where a list should be"),
        ({**WHOLE, "members": ["n1"]}, "'n1' stands where a dict should be"),
        ({**WHOLE, "members": [{**MEMBER, "kind": "ghost"}]}, "'ghost' is not a valid Kind"),
        ({**WHOLE, "members": [{**MEMBER, "port": "7100"}]}, "'7100' stands where a int should be"),
        ({**WHOLE, "members": [{**MEMBER, "port": True}]}, "'True' stands where a int should be"),
        ({**WHOLE, "members": [{**MEMBER, "port": 70000}]}, "70000 is no port"),
        ({**WHOLE, "members": [{**MEMBER, "port": -1}]}, "-1 is no port"),
        ({**WHOLE, "members": [{**MEMBER, "name": "../../etc"}]}, "'../../etc' is no name of a node"),
        ({**WHOLE, "members": [{**MEMBER, "name": ""}]}, "'' is no name of a node"),
        ({**WHOLE, "members": [MEMBER, MEMBER]}, "n1 is in it 2 times"),
        ({**WHOLE, "members": [{k: v for k, v in MEMBER.items() if k != "zone"}]}, "zone is missing"),
        ({**WHOLE, "acl": []}, "where a dict should be"),
        ({**WHOLE, "acl": {"n1": "ab"}}, "'ab' stands where a list should be"),
        ({**WHOLE, "acl": {"n1": ["a"]}}, "not enough values"),
        ({**WHOLE, "acl": {"n1": ["a", None]}}, "'None' stands where a str should be"),
        ({**WHOLE, "numbered": {"n": "9"}}, "'9' stands where a int should be"),
    ],
)
def test_a_record_that_holdfast_did_not_write_is_refused_and_says_what_to_do(value: Any, why: str) -> None:
    with pytest.raises(RecordUnreadable) as told:
        CacheRecord.from_json("/state/record.json", value)
    assert why in told.value.why
    assert "/state/record.json" in str(told.value)
    assert ".previous" in str(told.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(WHOLE)), json_values)
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_stands_in_a_field_it_is_read_or_refused(field: str, value: Any) -> None:
    try:
        made = CacheRecord.from_json("r", {**WHOLE, field: value})
    except RecordUnreadable:
        return
    assert read_again(made.to_json()) == made
