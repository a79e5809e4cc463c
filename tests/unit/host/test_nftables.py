"""The packet filter's text: what it lets in, and that nothing but numbers and addresses gets into it."""

from __future__ import annotations

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.host.nftables import (
    FirewallRequest,
    FirewallRequestInvalid,
    digest,
    loopback_only,
    nft_removal,
    nft_ruleset,
    table_name,
)


def request(
    allow: tuple[str, ...] = ("10.0.1.0/24",),
    ports: tuple[int, ...] = (6379,),
    peers: tuple[str, ...] = (),
    peer_ports: tuple[int, ...] = (),
    cache: str = "phonebill",
) -> FirewallRequest:
    return FirewallRequest(cache, ports, allow, peers, ("0.0.0.0",), peer_ports)


def lines_of(script: str) -> list[str]:
    return [line.strip() for line in script.splitlines()]


def test_allowed_networks_come_in_loopback_comes_in_and_the_rest_of_these_ports_is_dropped_last() -> None:
    lines = lines_of(nft_ruleset(request(ports=(6380, 6379, 6379))))
    assert 'iifname "lo" accept' in lines
    accept = lines.index("ip saddr { 10.0.1.0-10.0.1.255 } tcp dport { 6379, 6380 } accept")
    drop = next(at for at, line in enumerate(lines) if "drop" in line)
    assert lines[drop].startswith("tcp dport { 6379, 6380 } counter drop")
    assert accept < drop


def test_every_other_port_of_the_machine_is_left_alone() -> None:
    lines = lines_of(nft_ruleset(request()))
    assert "type filter hook input priority -10; policy accept;" in lines
    assert all("dport" in line for line in lines if "drop" in line)


def test_an_earlier_table_is_replaced_in_the_same_transaction() -> None:
    lines = lines_of(nft_ruleset(request()))
    assert lines[:3] == [
        "add table inet holdfast_phonebill",
        "delete table inet holdfast_phonebill",
        "table inet holdfast_phonebill {",
    ]


def test_the_bus_is_for_peers_only() -> None:
    lines = lines_of(nft_ruleset(request(ports=(6379, 16379), peers=("10.0.9.1",), peer_ports=(16379,))))
    assert "ip saddr { 10.0.1.0-10.0.1.255, 10.0.9.1 } tcp dport { 6379 } accept" in lines
    assert "ip saddr { 10.0.9.1 } tcp dport { 16379 } accept" in lines
    assert any(line.startswith("tcp dport { 6379, 16379 } counter drop") for line in lines)


@pytest.mark.parametrize(
    ("allow", "wanted"),
    [
        (("10.0.4.100-10.0.4.110",), "ip saddr { 10.0.4.100-10.0.4.110 }"),
        (("10.0.1.7",), "ip saddr { 10.0.1.7 }"),
        (("10.0.1.0/24", "10.0.1.128/25"), "ip saddr { 10.0.1.0-10.0.1.255 }"),
        (("10.0.1.0/25", "10.0.1.128/25"), "ip saddr { 10.0.1.0-10.0.1.255 }"),
        (("10.0.2.0/24", "10.0.0.0/24"), "ip saddr { 10.0.0.0-10.0.0.255, 10.0.2.0-10.0.2.255 }"),
        (("fd00:1::/64",), "ip6 saddr { fd00:1::-fd00:1::ffff:ffff:ffff:ffff }"),
    ],
)
def test_networks_ranges_and_addresses_become_spans_that_do_not_overlap(
    allow: tuple[str, ...], wanted: str
) -> None:
    rules = [line for line in lines_of(nft_ruleset(request(allow))) if "saddr" in line]
    assert rules == [f"{wanted} tcp dport {{ 6379 }} accept"]


@pytest.mark.parametrize(
    "bad",
    [
        "10.0.1.0/33",
        "10.0.4.110-10.0.4.100",
        "10.0.4.100-fd00::1",
        "10.0.0.1 } accept; add rule",
        "",
        "example.org",
        "fe80::1%eth0",
        "fe80::1%}drop",
        "10.0.0.1-10.0.0.2-10.0.0.3",
    ],
)
def test_what_is_no_address_is_refused_before_any_text_is_made(bad: str) -> None:
    with pytest.raises(FirewallRequestInvalid, match="packet filter was not touched"):
        nft_ruleset(request(allow=(bad,)))
    with pytest.raises(FirewallRequestInvalid, match="packet filter was not touched"):
        nft_ruleset(request(peers=(bad,)))


@pytest.mark.parametrize("cache", ["a_b", "", "A", "x; flush ruleset", "a" * 41, "a\n"])
def test_a_table_is_named_after_a_cache_name_only(cache: str) -> None:
    with pytest.raises(FirewallRequestInvalid):
        nft_ruleset(request(cache=cache))
    with pytest.raises(FirewallRequestInvalid):
        nft_removal(cache)


@pytest.mark.parametrize("ports", [(), (0,), (65536,), (-1,)])
def test_ports_are_ports(ports: tuple[int, ...]) -> None:
    with pytest.raises(FirewallRequestInvalid):
        nft_ruleset(request(ports=ports))


def test_two_caches_never_share_a_table() -> None:
    assert table_name("a-b") == "holdfast_a_b"
    assert table_name("ab") != table_name("a-b")


def test_the_mark_changes_with_what_is_allowed_and_not_with_its_order() -> None:
    first = request(allow=("10.0.1.0/24", "10.0.2.0/24"))
    assert digest(first) == digest(request(allow=("10.0.2.0/24", "10.0.1.0/24")))
    assert digest(first) != digest(request(allow=("10.0.1.0/24",)))
    assert digest(first) != digest(request(allow=("10.0.1.0/24", "10.0.2.0/24"), ports=(6380,)))


@pytest.mark.parametrize(
    ("bind", "alone"),
    [
        (("127.0.0.1",), True),
        (("127.0.0.1", "::1"), True),
        (("127.0.0.1", "-::1"), True),
        (("localhost",), True),
        (("127.0.0.1", "10.0.0.1"), False),
        (("0.0.0.0",), False),
        (("::",), False),
        (("*",), False),
        ((), False),
    ],
)
def test_loopback_alone_needs_no_filter(bind: tuple[str, ...], alone: bool) -> None:
    assert loopback_only(bind) is alone


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 40)), min_size=1, max_size=12))
def test_the_spans_hold_exactly_the_addresses_that_were_asked_for(spans: list[tuple[int, int]]) -> None:
    base = int(ipaddress.ip_address("10.0.0.0"))
    allow = tuple(
        f"{ipaddress.ip_address(base + first)}-{ipaddress.ip_address(base + first + length)}"
        for first, length in spans
    )
    rule = next(line for line in lines_of(nft_ruleset(request(allow))) if "saddr" in line)
    seen: set[int] = set()
    for first_text, last_text in re.findall(r"(10[.\d]+)(?:-(10[.\d]+))?", rule):
        first = int(ipaddress.ip_address(first_text))
        last = int(ipaddress.ip_address(last_text)) if last_text else first
        span = set(range(first, last + 1))
        assert not span & seen, "nftables refuses overlapping elements"
        seen |= span
    wanted = {base + at for first, length in spans for at in range(first, first + length + 1)}
    assert seen == wanted
