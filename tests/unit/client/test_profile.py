"""Profiles that were written by hand, by something else, or by a disk that fails: refused with what is wrong."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from holdfast.profile import PROFILE_FORMAT, NamespaceProfile, Profile, ProfileInvalid, Seed

GOOD = Profile(
    cache="shop",
    service="web",
    mode="cluster",
    seeds=(Seed("10.0.0.1", 7100),),
    user="web",
    password_file="/run/password",
    ca_file=None,
    namespaces={"cart": NamespaceProfile("cart:{user}", 60, "cache", "l1+l2", True, shorter_ttls_s={"a": 5})},
)
ODD: tuple[Any, ...] = (True, -1, 1e300, 7.5, "", "a\0b", [], {}, [1], {"a": "b"})


def read(**changed: Any) -> Profile:
    return Profile.from_json(
        json.dumps({"format": PROFILE_FORMAT} | asdict(GOOD) | changed).encode(), "p.json"
    )


def test_what_is_written_reads_back() -> None:
    assert Profile.from_json(GOOD.to_json()) == GOOD


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"null", b"{", b"[" * 5000, bytes(range(256)), b'{"format": 1}']
)
def test_what_is_no_profile(text: bytes) -> None:
    with pytest.raises(ProfileInvalid, match=r"the profile p\.json cannot be used: .*write it anew"):
        Profile.from_json(text, "p.json")


@pytest.mark.parametrize(
    "name", [name for name in asdict(GOOD) if name not in {"namespaces", "pool", "seeds"}]
)
def test_a_field_of_another_type(name: str) -> None:
    """What is let through has the type that is declared, so that it cannot fail later, far from here."""
    for odd in ODD:
        try:
            seen = getattr(read(**{name: odd}), name)
        except ProfileInvalid:
            continue
        assert type(seen) in {type(getattr(GOOD, name)), str}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"seeds": [{"host": "a"}]}, "a seed has no port"),
        ({"seeds": [{"host": "a", "port": "7100"}]}, "port of a seed"),
        ({"seeds": [5]}, "a seed is no JSON object"),
        ({"seeds": {}}, "it has no seeds"),
        ({"pool": {"max_total": "20"}}, "max_total of pool"),
        ({"pool": {"colour": 1}}, "pool has 'colour', which is not known"),
        ({"namespaces": {"cart": {}}}, "namespace cart has no"),
        (
            {"namespaces": {"cart": asdict(GOOD.namespaces["cart"]) | {"ttl_s": "1h"}}},
            "ttl_s of namespace cart",
        ),
        (
            {"namespaces": {"cart": asdict(GOOD.namespaces["cart"]) | {"shorter_ttls_s": {"a": "b"}}}},
            "shorter_ttls_s",
        ),
        ({"extra": 1}, "it has 'extra', which is not known"),
    ],
)
def test_the_field_is_named(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ProfileInvalid) as refused:
        read(**changed)
    assert words in str(refused.value)
