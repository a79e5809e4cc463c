"""Files become a spec: all faults at once, overlays, where values came from, one digest for one cache."""

import time

import pytest

from holdfast.spec.fault import Fault, SpecInvalid
from holdfast.spec.load import LoadedSpec, SpecSource, load_spec, to_document


def load(*texts: str) -> LoadedSpec:
    names = ["cache.yaml", "cache.local.yaml", "cache.more.yaml"]
    return load_spec([SpecSource(name, text) for name, text in zip(names, texts, strict=False)])


def faults_of(*texts: str) -> tuple[Fault, ...]:
    with pytest.raises(SpecInvalid) as refused:
        load(*texts)
    return refused.value.faults


WRONG_IN_EVERY_WAY = """\
cache:
  name: My Shop
topolgy: {}
topology:
  mode: clster
  node_timeout: 15
  zones: [a, a]
  replica: 2
  node_timeout_ms: 3
memory:
  maxmemory: 12kb
  maxmemory: 5gb
  replicas: 3
services:
  Bad Name: {}
  auth: {namespaces: [nope, bill.inquiry]}
keyspace:
  namespaces:
    bill.inquiry: {pattern: a b, ttl: none}
    x.y: {pattern: "k:{a}", owner: nobody, ttl: 5}
    x.z: {pattern: "k:{b}"}
security: {tls: requird, rotation: {primary_day: 3}}
network: {bind: [foo], allow: {a: 10.0.0.1/8, b: [1.2.3.4]}}
accept: {HF-HA-005: "", HF-HA-04: because}
"""


def test_all_faults_are_told_at_once_each_with_its_place() -> None:
    faults = faults_of(WRONG_IN_EVERY_WAY)
    told = {(fault.line, fault.column): f"{fault.path}: {fault.message}; {fault.hint}" for fault in faults}
    expected = {
        (2, 9): "'My Shop' is not allowed here",
        (3, 1): "did you mean topology?",
        (5, 9): "did you mean cluster?",
        (6, 17): "15 has no unit: write for example 15s or 15ms",
        (7, 10): "zone a is named more than once",
        (8, 3): "did you mean replicas?",
        (9, 3): "it is written node_timeout, with the unit in the value",
        (11, 14): "'12kb' is out of bounds; write at least 1mb",
        (12, 3): "already given on line 11",
        (13, 3): "did you mean topology.replicas?",
        (15, 3): "'Bad Name' is not allowed here",
        (16, 23): "there is no namespace nope",
        (19, 29): "is not a key pattern at character 2",
        (19, 39): "ttl: none needs a ttl_reason",
        (20, 36): "there is no service nobody",
        (20, 49): "5 has no unit",
        (21, 20): "a key can belong to both x.z (k:{b}) and x.y (k:{a})",
        (22, 12): "did you mean required?",
        (22, 50): "has a day of renewal",
        (23, 18): "'foo' is not an IP address",
        (23, 32): "10.0.0.1/8 has host bits set",
        (23, 50): "a map of keys is wanted, not a list",
        (24, 21): "at least 1 character is wanted",
        (24, 25): "did you mean HF-HA-004?",
    }
    assert list(told) == list(expected)
    assert len(faults) == len(expected)
    for place, text in expected.items():
        assert text in told[place]


def test_what_only_comes_from_another_fault_is_not_told() -> None:
    """`mode` is misspelt; that a standalone cache has no three shards is then no fault of its own."""
    (only,) = faults_of("cache: {name: x}\ntopology: {mode: clustr, shards: 3, replicas: 1}\n")
    assert only.path == "topology.mode"


def test_an_overlay_is_laid_over_by_key_and_null_removes() -> None:
    loaded = load(
        "cache: {name: x}\nnetwork: {bind: [0.0.0.0, '::'], allow: {lan: 10.0.0.0/8, vpn: 10.9.0.0/16}}\n"
        "memory: {maxmemory: 5gb, limit: 13gb, samples: 7}\nplace: {kind: azure, azure: {tier: Premium}}\n",
        "network: {bind: [127.0.0.1], allow: {lan: null, here: 127.0.0.0/8}}\nmemory: {maxmemory: 64mb, limit: null}\nplace: local\n",
        "memory: {samples: null}\n",
    )
    spec = loaded.spec
    assert spec.network.bind == ("127.0.0.1",)
    assert sorted(spec.network.allow) == ["here", "vpn"]
    assert (spec.memory.maxmemory_bytes, spec.memory.limit_bytes, spec.memory.samples) == (64 << 20, None, 5)
    assert spec.place.kind == "local"
    assert spec.place.azure.tier is None


def test_an_overlay_for_another_cache_is_refused() -> None:
    (only,) = faults_of("cache: {name: one}\n", "cache:\n  name: two\n")
    assert (only.file, only.line, only.column) == ("cache.local.yaml", 2, 9)
    assert "this overlay is for cache two, but cache.yaml is one" in only.message


def test_faults_of_an_overlay_are_told_in_the_overlay() -> None:
    faults = faults_of("cache: {name: one}\nmemory: {samples: 0}\n", "memory: {maxmemory: 1}\nnonsense: 1\n")
    assert [(fault.file, fault.line, fault.column) for fault in faults] == [
        ("cache.yaml", 2, 19),
        ("cache.local.yaml", 1, 21),
        ("cache.local.yaml", 2, 1),
    ]


def test_each_value_knows_where_it_came_from() -> None:
    loaded = load(
        "cache: {name: x}\nsecurity: {tls: required}\ntopology:\n  zones: [a, b]\n",
        "memory:\n  maxmemory: 1gb\n",
    )
    origins = {path: origin.text for path, origin in loaded.provenance.items()}
    assert origins["cache.name"] == "cache.yaml:1:15"
    assert origins["security.tls.mode"] == "cache.yaml:2:17"
    assert origins["security.tls.min_version"] == "default"
    assert origins["topology.zones"] == "cache.yaml:4:10"
    assert origins["memory.maxmemory"] == "cache.local.yaml:2:14"
    assert origins["memory.policy"] == "default"


def test_names_with_dots_stay_one_part_of_a_path() -> None:
    loaded = load("cache: {name: x}\nkeyspace:\n  namespaces:\n    a.b: {pattern: 'ab:{x}', ttl: 1h}\n")
    assert loaded.provenance["keyspace.namespaces[a.b].ttl"].text == "cache.yaml:4:35"


def test_one_cache_has_one_digest_however_it_is_written() -> None:
    plain = load("cache: {name: x}\nmemory: {maxmemory: 1gb}\n")
    other = load("# words\nmemory:\n  maxmemory: 1024mb\nformat: 1\ncache:\n  name: x\n")
    assert plain.digest == other.digest
    assert plain.digest != load("cache: {name: x}\nmemory: {maxmemory: 2gb}\n").digest


def test_a_file_of_a_newer_format_is_refused() -> None:
    (only,) = faults_of("format: 2\ncache: {name: x}\n")
    assert "format 2 is not known; this Holdfast reads format 1" in str(only)


def test_no_source_is_no_cache() -> None:
    with pytest.raises(SpecInvalid, match="cache: this key is missing"):
        load_spec([])


def test_a_document_reads_back_as_the_same_spec() -> None:
    loaded = load(
        "cache: {name: x}\nkeyspace: {namespaces: {a: {pattern: 'a:{x}', ttl: none, ttl_reason: kept}}}\n"
    )
    assert type(loaded.spec).model_validate(to_document(loaded.spec)) == loaded.spec


def test_a_key_cannot_speak_to_the_terminal() -> None:
    (fault,) = faults_of('cache: {name: shop}\n"\\e[2Jx\\ny": 1\n')
    assert fault.path == "\\x1b[2Jx\\ny"
    assert str(fault).isprintable()


def test_a_file_of_nothing_but_faults_is_refused_in_good_time() -> None:
    """The first two hundred are told; to look for the nearest known key of each of the others took seconds."""
    began = time.process_time()
    faults = faults_of("cache: {name: shop}\n" + "".join(f"unknown{number}: 1\n" for number in range(4_000)))
    assert len(faults) == 200
    assert faults[0].line == 2
    assert time.process_time() - began < 10
