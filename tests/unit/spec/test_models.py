"""What each section refuses, and what it makes of the shortest file."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from holdfast.spec.cache import Spec
from holdfast.spec.keyspace import NamespaceSpec
from holdfast.spec.memory import EvictionPolicy
from holdfast.spec.model import Model
from holdfast.spec.network import AddressRange
from holdfast.spec.security import TlsMode
from holdfast.spec.service import ServiceSpec
from holdfast.spec.topology import Mode, TopologySpec


def spec(**sections: Any) -> Spec:
    return Spec.model_validate({"cache": {"name": "shop"}, **sections})


def test_a_name_alone_is_a_cache() -> None:
    shop = spec()
    assert shop.topology == TopologySpec(mode=Mode.STANDALONE, shards=1, replicas=0, zones=("local",))
    assert shop.memory.policy is EvictionPolicy.VOLATILE_LRU
    assert shop.security.tls.mode is TlsMode.WHERE_AVAILABLE
    assert shop.network.bind == ("127.0.0.1",)


def sections_of(model: type[Model]) -> Iterator[type[Model]]:
    """The model and every model below it."""
    yield model
    for field in model.model_fields.values():
        if isinstance(field.default, Model):
            yield from sections_of(type(field.default))


@pytest.mark.parametrize(
    "model", [*sections_of(Spec), *sections_of(NamespaceSpec), *sections_of(ServiceSpec)]
)
def test_a_default_is_what_a_section_without_keys_is(model: type[Model]) -> None:
    """Defaults are written without being validated, which is what takes time when a command starts."""
    for name, field in model.model_fields.items():
        if isinstance(field.default, Model):
            checked = type(field.default).model_validate({})
            assert (field.default, field.default.model_fields_set) == (checked, set()), name


def test_a_scalar_stands_for_its_section() -> None:
    shop = spec(security={"tls": "required"}, place="local", network={"allow": {"lan": "10.0.0.0/8"}})
    assert shop.security.tls.mode is TlsMode.REQUIRED
    assert shop.network.allow["lan"].addresses == (AddressRange.parse("10.0.0.0/8"),)


NAMESPACES = {"namespaces": {"a.b": {"pattern": "ab:{x}", "ttl": "1h"}}}


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"topology": {"mode": "cluster", "shards": 2}}, "cannot outvote a lost primary"),
        ({"topology": {"shards": 3}}, "mode standalone has one shard"),
        ({"topology": {"replicas": 1}}, "mode standalone has no replicas"),
        ({"topology": {"mode": "replicated"}}, "needs a replica"),
        ({"topology": {"mode": "sentinel", "replicas": 1, "sentinels": 4}}, "no majority left"),
        ({"topology": {"mode": "sentinel", "replicas": 1, "sentinels": 1}}, "no majority left"),
        ({"topology": {"mode": "sentinel", "replicas": 1, "sentinels": 5, "quorum": 2}}, "no majority of 5"),
        ({"topology": {"zones": ["a", "a"]}}, "named more than once"),
        ({"memory": {"maxmemory": "1gb", "limit": "1gb"}}, "leaves nothing beside maxmemory"),
        ({"memory": {"warn": "90%", "critical": "80%"}}, "comes before the warning"),
        ({"persistence": {"rdb": {"save": []}}}, "without a rule"),
        ({"persistence": {"durability": {"writes": "wait"}}}, "1 replicas of 0"),
        ({"security": {"tls": {"certificate_life": "800d", "ca_life": "700d"}}}, "outlive their authority"),
        ({"security": {"access": {"operators": ["default"]}}}, "Holdfast's or the engine's own"),
        ({"security": {"rotation": {"primary_day": 3}}}, "has a day of renewal"),
        ({"security": {"rotation": {"primary_day": 3, "secondary_day": 3}}}, "on one day"),
        ({"network": {"bind": ["127.0.0.1", "127.0.0.1"]}}, "more than once"),
        ({"services": {"shop": {"namespaces": ["nope"]}}}, "no namespace nope"),
        ({"services": {"operator": {}}}, "already an operator"),
        ({"services": {"one": {"user": "u"}, "two": {"user": "u"}}}, "already the user of service one"),
        ({"services": {"default": {}}}, "Holdfast's or the engine's own"),
        ({"services": {"one": {"user": "holdfast-backup"}}}, "Holdfast's or the engine's own"),
        (
            {"services": {"one": {"namespaces": ["a.b"], "reads": ["a.b"]}}, "keyspace": NAMESPACES},
            "named more than once",
        ),
        ({"services": {"one": {"pool": {"max_idle": 30}}}}, "30 idle connections of 20"),
        ({"services": {"one": {"instances": {"min": 3, "max": 2}}}}, "at least 3 and at most 2"),
        ({"keyspace": {"namespaces": {"a": {"pattern": "a:{x}", "owner": "who"}}}}, "no service who"),
        ({"keyspace": {"namespaces": {"a": {"pattern": "a:{x}", "ttl": "none"}}}}, "needs a ttl_reason"),
        (
            {"keyspace": {"namespaces": {"a": {"pattern": "a:{x}", "ttl": "1h", "ttl_reason": "so"}}}},
            "nothing to excuse",
        ),
        (
            {
                "keyspace": {
                    "namespaces": {"a": {"pattern": "a:{x}", "ttl": "1h", "shorter_ttls": {"y": "2h"}}}
                }
            },
            "not shorter than ttl",
        ),
        ({"keyspace": {"namespaces": {"a": {"pattern": "a:{x}", "personal_data": ["y"]}}}}, "y is no field"),
        (
            {"keyspace": {"namespaces": {"a": {"pattern": "a:{x}"}, "b": {"pattern": "a:{y}"}}}},
            "belong to both",
        ),
        ({"keyspace": {"together": {"t": {"namespaces": ["nope"]}}}}, "no namespace nope"),
        ({"keyspace": {"namespaces": {"a": {"pattern": "a:{x}", "follows": "nope"}}}}, "no namespace nope"),
        (
            {"backup": {"retention": {"hourly": 0, "daily": 0, "weekly": 0, "monthly": 0}}},
            "no backup would be kept",
        ),
        ({"backup": {"schedule": "61 * * * *"}}, "not a cron minute"),
        ({"backup": {"schedule": "often"}}, "not a schedule"),
        ({"backup": {"store": "s3://key:secret@bucket"}}, "carries no password"),
        ({"dr": {"region": "south", "automatic": True}}, "waits for approval"),
        ({"dr": {"cache": "copy"}}, "not where it is"),
        ({"alerts": {"a": {"metric": "latency", "threshold": 10, "unit": "percent"}}}, "measured in ms"),
        ({"alerts": {"a": {"metric": "miss_percent", "threshold": 130}}}, "no percentage"),
        ({"place": "hosts"}, "no machine is named"),
        ({"place": "external"}, "no endpoint is named"),
        ({"maintenance": {"windows": {"w": {"start": "2 am"}}}}, "not a time of day"),
    ],
)
def test_a_contradiction_is_refused_in_words(sections: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        spec(**sections)


def test_hosts_and_zones_must_be_the_same_ones() -> None:
    hosts = {"one": {"address": "10.0.0.1", "zone": "a", "supervisor": "https://10.0.0.1:7800"}}
    with pytest.raises(ValidationError) as refused:
        spec(place={"kind": "hosts", "hosts": hosts}, topology={"zones": ["b"]})
    assert "a is none of the zones" in str(refused.value)
    assert "no host is in zone b" in str(refused.value)


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        spec().topology.shards = 4  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "networks"),
    [
        ("10.0.1.0/24", ["10.0.1.0/24"]),
        ("10.0.4.100-10.0.4.110", ["10.0.4.100/30", "10.0.4.104/30", "10.0.4.108/31", "10.0.4.110/32"]),
        ("::1", ["::1/128"]),
    ],
)
def test_addresses_become_networks(text: str, networks: list[str]) -> None:
    assert [str(network) for network in AddressRange.parse(text).networks] == networks


@pytest.mark.parametrize(
    "text", ["10.0.0.1/8", "10.0.0.9-10.0.0.1", "::1-10.0.0.1", "host", "10.0.0.0/33", "", "1.2.3.4-"]
)
def test_what_are_no_addresses_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|network|lower"):
        AddressRange.parse(text)
