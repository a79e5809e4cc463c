"""Any valid spec survives being written as a file and read again, and so do its listing and its digest."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.spec.cache import Spec
from holdfast.spec.listing import listing
from holdfast.spec.load import LoadedSpec, SpecSource, digest_of, load_spec, to_document
from holdfast.spec.units import size_text

NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
TEXTS = st.text(max_size=30)
SIZES = st.integers(1 << 20, 1 << 45).map(size_text)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    shards, replicas = draw(st.integers(3, 9)), draw(st.integers(0, 3))
    mode = draw(st.sampled_from(["standalone", "replicated", "sentinel", "cluster"]))
    services = draw(
        st.lists(
            NAMES.filter(
                lambda name: name not in {"operator", "default"} and not name.startswith("holdfast-")
            ),
            max_size=3,
            unique=True,
        )
    )
    namespaces = {
        f"{name}.n": {
            "pattern": f"{name}:{{id}}",
            "ttl": draw(st.sampled_from(["90s", "4h", "1500s", "none"])),
            "description": draw(TEXTS),
            "kind": draw(st.sampled_from(["cache", "session", "lock"])),
        }
        for name in services
    }
    for namespace in namespaces.values():
        if namespace["ttl"] == "none":
            namespace["ttl_reason"] = draw(
                st.text(st.characters(codec="ascii", categories=["L"]), min_size=1, max_size=9)
            )
    return {
        "cache": {"name": draw(NAMES), "description": draw(TEXTS)},
        "topology": {
            "mode": mode,
            "shards": shards if mode == "cluster" else 1,
            "replicas": 0 if mode == "standalone" else max(1, replicas),
            "node_timeout": f"{draw(st.integers(100, 60_000))}ms",
        },
        "memory": {"maxmemory": draw(SIZES)},
        "persistence": {"rdb": {"save": [f"{draw(st.integers(1, 999))} {draw(st.integers(1, 999))}"]}},
        "services": {name: {"namespaces": [f"{name}.n"], "description": draw(TEXTS)} for name in services},
        "keyspace": {"namespaces": namespaces},
        "promises": {
            "latency": f"{draw(st.integers(1, 999))}ms",
            "failover": f"{draw(st.integers(1, 99_999))}ms",
        },
        "network": {"allow": {"lan": draw(st.sampled_from(["10.0.0.0/8", "10.0.0.1-10.0.0.9", "::1"]))}},
    }


@settings(max_examples=60, deadline=None)
@given(documents())
def test_a_spec_survives_its_document_and_its_listing(document: dict[str, Any]) -> None:
    spec = Spec.model_validate(document)
    written = to_document(spec)
    assert Spec.model_validate(written) == spec
    assert to_document(Spec.model_validate(written)) == written

    again = load_spec([SpecSource("f", listing(LoadedSpec(spec, {}, digest_of(written), ("f",))))])
    assert again.spec == spec
    assert again.digest == digest_of(written)
