"""Keys, ids and skew: what workers draw, without a server."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from holdfast.codec.crc import key_slot
from holdfast.load.draw import FlowKeys, Values, version_of, zipf_weights
from holdfast.load.workload import GROUP_KEYS, MARK, Command, Flow

GETS = {Command.GET: 1.0}


def keys_of(flow: Flow, worker: int = 0, workers: int = 1) -> FlowKeys:
    return FlowKeys(flow, "ab12", worker, workers, clustered=True, rng=Random(7))


def flow(**changed: object) -> Flow:
    facts: dict[str, object] = {
        "name": "bill",
        "pattern": "bill:{customerId}:{month}",
        "keys": 1000,
        "value_bytes": 64,
        "ttl_s": 60,
        "skew": 0.0,
        "commands": GETS,
    }
    return Flow(**(facts | changed))  # type: ignore[arg-type]


def test_every_key_holds_the_mark_and_the_run_and_belongs_to_one_worker() -> None:
    texts = [
        keys_of(flow(), worker, 3).text(number)
        for worker in range(3)
        for number in range(keys_of(flow(), worker, 3).count)
    ]
    assert len(texts) == len(set(texts)) == 1000
    assert all(MARK in text and "ab12" in text and text.startswith("bill:") for text in texts)


@pytest.mark.parametrize("skew", [0.0, 0.8, 1.2])
def test_all_keys_are_drawn_and_the_skew_is_that_of_zipf(skew: float) -> None:
    keys = keys_of(flow(keys=50, skew=skew))
    drawn = Counter(keys.number(0.0) for _ in range(60_000))
    assert set(drawn) <= set(range(50))
    weights = zipf_weights(50, skew) if skew else [float(n) for n in range(1, 51)]
    most = drawn.most_common(1)[0][1] / 60_000
    wanted = weights[0] / weights[-1]
    assert most == pytest.approx(wanted, rel=0.15)
    assert len(drawn) == 50


def test_churn_moves_the_window_of_keys_on() -> None:
    keys = keys_of(flow(keys=100, churn_per_s=10))
    assert max(keys.number(0.0) for _ in range(500)) < 100
    later = [keys.number(5.0) for _ in range(3000)]
    assert min(later) == 50
    assert max(later) == 149


def test_keys_that_mget_asks_for_together_share_a_slot() -> None:
    for pattern in ("bill:{customerId}:{month}", "cart:{{user}}:{item}", "one:{x}"):
        keys = keys_of(flow(pattern=pattern, commands={Command.MGET: 1.0, Command.SET: 1.0}))
        group = keys.group(GROUP_KEYS + 1)
        texts = [keys.text(number) for number in group]
        assert len(set(texts)) == len(group) == GROUP_KEYS
        assert len({key_slot(text.encode()) for text in texts}) == 1


def test_a_pattern_of_a_tag_alone_asks_for_one_key_at_a_time() -> None:
    keys = keys_of(flow(pattern="cart:{{user}}", commands={Command.MGET: 1.0}))
    assert keys.group(12) == [12]
    assert len({keys.text(number) for number in range(100)}) == 100


def test_a_value_has_its_size_and_says_its_id() -> None:
    value = Values(40, Random(1)).of(123456)
    assert len(value) == 40
    assert version_of(value) == 123456
    assert version_of(Values(3, Random(1)).of(99999)) == 99999
    assert version_of(b"somebody else's") == -1
