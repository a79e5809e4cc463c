"""Workloads from a spec and from files, good and bad."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.cli.specfile import load_file
from holdfast.load.workload import Command, WorkloadInvalid, from_file, from_spec
from holdfast.spec.load import SpecSource, load_spec

PHONEBILL = Path(__file__).parents[3] / "examples" / "phonebill" / "cache.yaml"


def test_phonebills_own_traffic_is_the_plans_ten_thousand_per_second() -> None:
    workload = from_spec(load_file(PHONEBILL).spec)
    assert workload.rate_per_s == pytest.approx(10_000, rel=0.01)
    session = next(flow for flow in workload.flows if flow.name == "auth.session")
    assert session.commands == {Command.GET: 3000, Command.SET: 50}
    assert (session.ttl_s, session.skew) == (86400, 0.6)


def test_a_namespace_with_one_fixed_key_is_left_out_and_said() -> None:
    spec = load_spec(
        [
            SpecSource(
                "x",
                "format: 1\ncache: {name: shop}\nkeyspace:\n  namespaces:\n"
                "    all: {pattern: 'all:keys', ttl: 1h, traffic: {reads_per_s: 5}}\n"
                "    cart: {pattern: 'cart:{id}', ttl: 1h, traffic: {reads_per_s: 5}}\n",
            )
        ]
    ).spec
    workload = from_spec(spec)
    assert [flow.name for flow in workload.flows] == ["cart"]
    assert "all" in workload.left_out[0]


def test_a_spec_without_traffic_is_refused_in_words() -> None:
    spec = load_spec([SpecSource("x", "format: 1\ncache: {name: shop}\n")]).spec
    with pytest.raises(WorkloadInvalid, match="declares traffic"):
        from_spec(spec)


def test_a_workload_file() -> None:
    workload = from_file(
        "w.yaml",
        b"flows: {cart: {pattern: 'cart:{id}', keys: 5, value: 2kb, ttl: 5m, commands: {GET: 3, MGET: 1}}}",
    )
    (flow,) = workload.flows
    assert (flow.keys, flow.value_bytes, flow.ttl_s) == (5, 2048, 300)
    assert workload.scaled(0.01).flows[0].keys == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"flows: {}", "flows"),
        (b"flows: {cart: {pattern: 'cart', commands: {GET: 1}}}", "no field"),
        (b"flows: {cart: {pattern: 'cart:{id}', commands: {FLUSHALL: 1}}}", "commands"),
        (b"flows: {cart: {pattern: 'cart:{id}', commands: {GET: -1}}}", "greater than 0"),
        (b"flows: {cart: {pattern: 'cart:{id}', keys: 0, commands: {GET: 1}}}", "keys"),
        (b"flows: {cart: {pattern: 'cart:{id}', commands: {GET: .nan}}}", "commands"),
        (b"flows: [", "w.yaml"),
        (b"\xff\xfe", "w.yaml"),
        (b"", "flows"),
        (b"flows: &a {x: *a}", "w.yaml"),
    ],
)
def test_a_bad_file_is_refused_with_what_is_wrong(text: bytes, said: str) -> None:
    with pytest.raises(WorkloadInvalid) as refused:
        from_file("w.yaml", text)
    assert said in str(refused.value)
