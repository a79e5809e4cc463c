"""What tests wish for: specs, machines and the values a plan is made from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from hypothesis import strategies as st
from tests.unit.engine.builds import VALKEY_9_1
from tests.unit.topology.model import World

from holdfast.engine.build import EngineBuild
from holdfast.engine.directive import directive
from holdfast.spec.cache import Spec
from holdfast.topology.layout import HostPlace
from holdfast.topology.record import CacheRecord
from holdfast.topology.wanted import CAREFUL, Manner, Wanted

ZONES = ("zone-a", "zone-b", "zone-c", "zone-d")
GB = 1 << 30


def wish(mode: str, **asked: Any) -> dict[str, Any]:
    """The topology section of a spec; `zones` may be a number."""
    if isinstance(asked.get("zones", 0), int):
        asked["zones"] = list(ZONES[: asked.get("zones", 0) or 1])
    return {"mode": mode, **asked}


def spec_of(topology: Mapping[str, Any], **sections: Any) -> Spec:
    return _spec(json.dumps([topology, sections], default=dict))


@cache
def _spec(text: str) -> Spec:
    topology, sections = json.loads(text)
    return Spec.model_validate({"cache": {"name": "orders"}, "topology": topology, **sections})


def wanted_of(
    topology: Mapping[str, Any],
    record: CacheRecord,
    *,
    hosts: Sequence[HostPlace] | None = None,
    users: str = "users-1",
    build: EngineBuild = VALKEY_9_1,
    manner: Manner = CAREFUL,
    **sections: Any,
) -> Wanted:
    """What `topology` asks for of the cache that `record` remembers."""
    spec = spec_of(topology, **sections)
    maxmemory = directive("maxmemory", spec.memory.maxmemory_bytes or 0, "memory.maxmemory")
    backlog = directive("tcp-backlog", spec.network.backlog, "network.backlog")
    return Wanted(
        spec=spec,
        digest=repr((topology, users, sorted(sections.items()))),
        record=record,
        hosts=hosts or (HostPlace("local", tuple(spec.topology.zones)),),
        build=build,
        directives={member.name: (maxmemory, backlog) for member in record.servers},
        users_digest=users,
        manner=manner,
    )


def nothing(mode: str) -> World:
    """A cache before its first `up`."""
    return World(CacheRecord(name="orders", mode=mode, engine="valkey-9.1.2@test", tls=False))


@st.composite
def clusters(draw: st.DrawFn) -> dict[str, Any]:
    return wish(
        "cluster",
        shards=draw(st.integers(3, 6)),
        replicas=draw(st.integers(0, 3)),
        zones=draw(st.integers(1, 4)),
    )


@st.composite
def single_primaries(draw: st.DrawFn) -> dict[str, Any]:
    mode = draw(st.sampled_from(["standalone", "replicated", "sentinel"]))
    asked: dict[str, Any] = {"zones": draw(st.integers(1, 4))}
    if mode != "standalone":
        asked["replicas"] = draw(st.integers(1, 3))
    if mode == "sentinel":
        asked["sentinels"] = draw(st.sampled_from([3, 5, 7]))
        majority = asked["sentinels"] // 2 + 1
        asked["quorum"] = draw(st.integers(majority, asked["sentinels"]))
    return wish(mode, **asked)
