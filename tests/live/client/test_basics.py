"""The first tour: both faces on a real server of each engine, every verb, and what is refused before it is sent."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel
from tests.live.client.servers import ENGINES, engine_server, namespaces, raw, until

from holdfast.client import (
    AsyncCache,
    Cache,
    CacheClosed,
    KeyInvalid,
    NamespaceInvalid,
    NamespaceUnknown,
    NotWritable,
    ValueRefused,
    declare,
)
from holdfast.testing import PrivateServer


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", params=ENGINES)
def server(request: pytest.FixtureRequest) -> Iterator[PrivateServer]:
    with engine_server(request.param) as started:
        yield started


@pytest.fixture
def cache(server: PrivateServer) -> Iterator[Cache]:
    server.flush()
    with Cache(server.url, namespaces=namespaces()) as opened:
        yield opened


class Bill(BaseModel):
    total: int
    month: str


@dataclasses.dataclass
class Product:
    code: str
    fee: float
    tags: list[str] = dataclasses.field(default_factory=list)


def test_a_value_comes_back_and_goes(cache: Cache, server: PrivateServer) -> None:
    bills = cache.namespace("bill.inquiry")
    assert bills.get(customerId="C1", month="202509") is None
    bills.put({"total": 7}, customerId="C1", month="202509")
    assert bills.get(customerId="C1", month="202509") == {"total": 7}
    assert raw(server).get("bill:inquiry:C1:202509") == b'{"total":7}', "others read it too"
    left = bills.ttl_s(customerId="C1", month="202509")
    assert left is not None
    assert 3240 <= left <= 3600, "TTL of the declaration, shortened by at most the jitter"
    assert bills.exists(customerId="C1", month="202509")
    assert bills.delete(customerId="C1", month="202509")
    assert not bills.delete(customerId="C1", month="202509")
    assert bills.get(customerId="C1", month="202509") is None


def test_the_second_read_is_served_from_the_first_tier_and_a_foreign_write_ends_that(
    cache: Cache, server: PrivateServer
) -> None:
    bills = cache.namespace("bill.inquiry")
    key = bills.key(customerId="C1", month="202509")
    raw(server).set(key, b'{"total":1}', ex=100)
    until(lambda: bills.get(key) == {"total": 1} and key in cache.shared.l1.entries)
    hits = cache.shared.l1.hits
    assert bills.get(key) == {"total": 1}
    assert cache.shared.l1.hits == hits + 1
    raw(server).set(key, b'{"total":2}', ex=100)
    until(lambda: bills.get(key) == {"total": 2}, 2)
    until(lambda: key in cache.shared.l1.entries or bills.get(key) is None)
    raw(server).flushdb()
    until(lambda: bills.get(key) is None, 2)


def test_the_first_tier_never_outlives_the_servers_copy(cache: Cache, server: PrivateServer) -> None:
    bills = cache.namespace("bill.inquiry")
    key = bills.key(customerId="C1", month="202509")
    raw(server).set(key, b"1", px=8000)
    until(lambda: bills.get(key) == 1 and key in cache.shared.l1.entries, 6)
    assert cache.shared.l1.entries[key].until <= time.monotonic() + 8.0, "not the 300 s of the first tier"


@pytest.mark.parametrize("name", ["auth.session", "system.breaker"])
def test_state_is_never_kept_in_the_first_tier_even_if_declared_so(cache: Cache, name: str) -> None:
    kept = cache.namespace(name)
    fields: dict[str, Any] = (
        {"userId": "u1", "sessionId": "s1"} if name == "auth.session" else {"serviceName": "kos"}
    )
    kept.put({"x": 1}, **fields)
    for _ in range(3):
        assert kept.get(**fields) == {"x": 1}
    assert not cache.shared.l1.entries


def test_values_become_models_and_dataclasses(cache: Cache, server: PrivateServer) -> None:
    bills = cache.namespace("bill.inquiry", Bill)
    bills.put(Bill(total=3, month="202509"), customerId="C1", month="202509")
    assert bills.get(customerId="C1", month="202509") == Bill(total=3, month="202509")
    products = cache.namespace("product.info", Product)
    products.put(Product("5G", 8.5, ["a"]), productCode="5G")
    assert products.get(productCode="5G") == Product("5G", 8.5, ["a"])
    raw(server).set("product:info:LTE", b'{"code":"LTE","fee":1,"added_by_a_later_version":true}')
    assert products.get(productCode="LTE") == Product("LTE", 1.0)
    with pytest.raises(ValueRefused, match="Product is kept here"):
        products.put({"code": "x"}, productCode="5G")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bad", [b"\xff\xfe", b"{", b"\xc1H\x07", b"\xc1H\x02" + b"\0" * 30, b"\xc1H\x01\x10" + b"\0" * 30, b""]
)
def test_what_cannot_be_read_is_a_miss_is_reported_and_is_loaded_over(
    server: PrivateServer, bad: bytes
) -> None:
    from holdfast.client import Settings

    server.flush()
    told: list[Exception] = []
    with Cache(
        server.url, namespaces=namespaces(lease_ms=1000), settings=Settings(on_unreadable=told.append)
    ) as cache:
        bills = cache.namespace("bill.inquiry", Bill)
        raw(server).set("bill:inquiry:C1:202509", bad)
        assert bills.get(customerId="C1", month="202509") is None
        assert "bill:inquiry:C1:202509" in str(told[0])
        loaded = bills.get_or_load(
            lambda customerId, month: Bill(total=1, month=month), customerId="C1", month="202509"
        )
        assert loaded == bills.get(customerId="C1", month="202509") == Bill(total=1, month="202509")


def test_a_key_of_another_type_is_a_miss(cache: Cache, server: PrivateServer) -> None:
    raw(server).hset("bill:inquiry:C1:202509", "a", "b")
    bills = cache.namespace("bill.inquiry")
    assert bills.get(customerId="C1", month="202509") is None
    assert bills.get_or_load(lambda **_: 5, customerId="C1", month="202509") == 5
    assert bills.get(customerId="C1", month="202509") == 5
    raw(server).hset("bill:inquiry:C2:202509", "a", "b")
    assert bills.get_many(["bill:inquiry:C2:202509", "bill:inquiry:C1:202509"]) == {
        "bill:inquiry:C1:202509": 5
    }


def test_counters_count_and_end(cache: Cache) -> None:
    attempts = cache.namespace("auth.attempts")
    assert [attempts.increment(userId="u1") for _ in range(3)] == [1, 2, 3]
    assert 0 < (attempts.ttl_s(userId="u1") or 0) <= 1800
    assert attempts.increment(userId="u1", by=-3) == 0


def test_add_keeps_only_the_first(cache: Cache) -> None:
    orders = cache.namespace("bill.kos")
    assert orders.add("a", requestId="1")
    assert not orders.add("b", requestId="1")
    assert orders.get(requestId="1") == "a"


def test_many_at_once(cache: Cache) -> None:
    bills = cache.namespace("bill.inquiry")
    items = {bills.key(customerId=f"C{n}", month="1"): {"n": n} for n in range(257)}
    bills.put_many(items, ttl_s=60)
    assert bills.get_many([*items, bills.key(customerId="nobody", month="1")]) == items
    assert bills.get_many(items) == items, "from the first tier"
    assert bills.delete_many(items) == 257
    assert bills.get_many(items) == {}


def test_a_decorated_function_is_called_once(cache: Cache) -> None:
    calls = []

    @cache.cached("product.info")
    def product(productCode: str) -> Product | None:
        calls.append(productCode)
        return Product(productCode, 1.0) if productCode != "none" else None

    assert product("5G") == product(productCode="5G") == Product("5G", 1.0)
    assert calls == ["5G"]
    assert product("none") is None
    product.namespace.delete(productCode="5G")  # type: ignore[attr-defined]
    assert product("5G") == Product("5G", 1.0)
    assert calls == ["5G", "none", "5G"]
    with pytest.raises(NamespaceInvalid, match="takes code, language"):
        cache.cached("product.info")(lambda code, language: None)


def test_a_decorated_function_takes_its_arguments_as_any_function_does(cache: Cache) -> None:
    asked: list[tuple[Any, Any]] = []

    @cache.cached("bill.inquiry")
    def bill(customerId: Any, month: Any = "202509") -> dict[str, str]:
        """Ask for a bill."""
        asked.append((customerId, month))
        return {"of": f"{customerId} {month}"}

    wanted = {"of": "D1 202509"}
    until(lambda: bill("D1", "202509") == wanted and "bill:inquiry:D1:202509" in cache.shared.l1.entries)
    assert asked == [("D1", "202509")]
    hits = cache.health().figures["hits_l1"]
    assert (
        bill("D1", "202509") == bill("D1", month="202509") == bill(month="202509", customerId="D1") == wanted
    )
    assert bill("D1", 202509) == bill("D1") == wanted
    assert cache.health().figures["hits_l1"] == hits + 5
    assert bill(7, 1) == {"of": "7 1"}
    assert asked[1:] == [(7, 1)], "the function gets what the caller gave, not its text"
    given: list[tuple[list[str], dict[str, str]]] = [
        ([], {}),
        (["D1", "2", "3"], {}),
        (["D1"], {"monht": "2"}),
    ]
    for args, fields in given:
        with pytest.raises(TypeError):
            bill(*args, **fields)
    for name in ("", "a:b", 1.5, True, None, ..., ["a"], "\ud800"):
        with pytest.raises(KeyInvalid):
            bill(name, "202509")
    assert len(asked) == 2
    assert (bill.__name__, bill.__doc__) == ("bill", "Ask for a bill.")
    assert str(inspect.signature(bill)).startswith("(customerId: 'Any', month: 'Any' = '202509')")


def test_methods_and_functions_without_a_name_are_decorated_too(cache: Cache) -> None:
    class Shop:
        asked = 0

        @cache.cached("bill.kos")
        def far(self, requestId: str) -> int:
            self.asked += 1
            return self.asked

        @cache.cached("product.info")
        def near(self, productCode: str) -> int:
            self.asked += 1
            return self.asked

    shop = Shop()
    assert shop.far("m1") == shop.far(requestId="m1") == 1
    assert shop.near("m2") == shop.near(productCode="m2") == 2
    unnamed = cache.cached("product.info")(lambda productCode: productCode * 2)
    assert unnamed("m3") == unnamed(productCode="m3") == "m3m3"


BAD_FIELDS: list[dict[str, Any]] = [
    {"customerId": "C1"},
    {"customerId": "C1", "month": "1", "year": "2"},
    {"customerId": "", "month": "1"},
    {"customerId": "a:b", "month": "1"},
    {"customerId": None, "month": "1"},
    {"customerId": True, "month": "1"},
    {"customerId": float("nan"), "month": "1"},
    {"customerId": b"C1", "month": "1"},
    {"customerId": "x" * 70_000, "month": "1"},
    {"customerId": "\ud800", "month": "1"},
]


@pytest.mark.parametrize("fields", BAD_FIELDS, ids=lambda fields: repr(fields)[:40])
def test_fields_that_make_no_key_are_refused(cache: Cache, fields: dict[str, Any]) -> None:
    bills = cache.namespace("bill.inquiry")
    for attempt in (
        lambda: bills.get(**fields),
        lambda: bills.put(1, **fields),
        lambda: bills.delete(**fields),
        lambda: bills.get_or_load(lambda **_: 1, **fields),
    ):
        # A field that is none of the namespace's is what it is to any function: a TypeError.
        with pytest.raises((KeyInvalid, TypeError), match=r"bill\.inquiry"):
            attempt()
    with pytest.raises(KeyInvalid):
        bills.put(1, **fields)


def test_a_hit_knows_its_fields_from_others(cache: Cache, server: PrivateServer) -> None:
    """What the compiled way to the first tier takes and what it leaves: numbers are text, a truth value is none."""
    bills = cache.namespace("bill.inquiry")
    raw(server).set("bill:inquiry:7:True", b'"kept"')
    until(lambda: bills.get(customerId=7, month="True") == "kept" and cache.shared.l1.entries)
    hits = cache.shared.l1.hits
    assert bills.get(customerId="7", month="True") == bills.get(month="True", customerId=7) == "kept"
    assert bills.get_or_load(lambda **_: "loaded", customerId=7, month="True") == "kept"
    assert cache.shared.l1.hits == hits + 3
    for wrong in (True, None, b"True"):
        with pytest.raises(KeyInvalid):
            bills.get(customerId=7, month=wrong)
    for fields in ({"customerId": 7, "month": "True"}, {"month": "True"}):
        with pytest.raises(KeyInvalid, match="not both"):
            bills.get("bill:inquiry:7:True", **fields)
    with pytest.raises(KeyInvalid, match="missing month"):
        bills.get(customerId=7)
    with pytest.raises(KeyInvalid):
        bills.get(["unhashable"])  # type: ignore[arg-type]


@pytest.mark.parametrize("pattern", ["odd:{class}:{read}", "odd:{a}-{b}", "odd:{_x1}"])
def test_fields_of_any_name_are_kept_near(server: PrivateServer, pattern: str) -> None:
    import re

    if "{_" in pattern:
        with pytest.raises(NamespaceInvalid):
            declare(pattern, ttl_s=60) and Cache(server.url, namespaces={"odd": declare(pattern, ttl_s=60)})
        return
    server.flush()
    with Cache(server.url, namespaces={"odd": declare(pattern, ttl_s=60, tier="l1+l2")}) as cache:
        odd, fields = cache.namespace("odd"), dict.fromkeys(re.findall(r"\{(\w+)\}", pattern), "v")
        key = odd._verbs.family.pattern.build(fields)
        odd.put(5, key)
        until(lambda: odd.get(key) == 5 and cache.shared.l1.entries)
        hits = cache.shared.l1.hits
        assert odd.get(key) == 5
        assert cache.shared.l1.hits == hits + 1


@pytest.mark.parametrize(
    "key", ["bill:inquiry:C1", "auth:session:u:s", b"bill:inquiry:C1:1", 7, "", "bill:inquiry::1"]
)
def test_ready_keys_of_others_are_refused(cache: Cache, key: Any) -> None:
    with pytest.raises(KeyInvalid):
        cache.namespace("bill.inquiry").get(key)
    with pytest.raises(KeyInvalid):
        cache.namespace("bill.inquiry").get_many([key])


@pytest.mark.parametrize("value", [None, object(), {1, 2}, float, {"a": object()}, 2**70])
def test_values_that_cannot_be_kept_are_refused(cache: Cache, value: Any) -> None:
    with pytest.raises(ValueRefused):
        cache.namespace("bill.inquiry").put(value, customerId="C1", month="1")


@pytest.mark.parametrize("ttl_s", [float("nan"), float("inf"), -1, 0, "soon", True, 3601])
def test_times_to_live_that_mean_nothing_are_refused(cache: Cache, ttl_s: Any) -> None:
    with pytest.raises(ValueRefused, match="TTL"):
        cache.namespace("bill.inquiry").put(1, customerId="C1", month="1", ttl_s=ttl_s)


def test_what_may_only_be_read_is_not_written(cache: Cache) -> None:
    reports = cache.namespace("read.only")
    for attempt in (lambda: reports.put(1, day="1"), lambda: reports.delete(day="1")):
        with pytest.raises(NotWritable, match="may only read"):
            attempt()
    assert reports.get_or_load(lambda day: int(day) + 1, day="1") == 2
    assert reports.get(day="1") is None


def test_a_namespace_that_is_not_declared_is_named_with_those_that_are(cache: Cache) -> None:
    with pytest.raises(NamespaceUnknown, match=r"bill\.inquiry"):
        cache.namespace("bill.enquiry")


def test_a_closed_cache_says_so(server: PrivateServer) -> None:
    cache = Cache(server.url, namespaces=namespaces())
    bills = cache.namespace("bill.inquiry")
    bills.put(1, customerId="C1", month="1")
    cache.close()
    with pytest.raises(CacheClosed):
        bills.get(customerId="C1", month="1")
    cache.close()


def test_big_and_binary_values(server: PrivateServer) -> None:
    declared = {
        "blob": declare("blob:{id}", ttl_s=60),
        "packed": declare("packed:{id}", ttl_s=60, compress_above_bytes=200),
    }
    blob = bytes(range(256)) * 8192
    with Cache(server.url, namespaces=declared) as cache:
        blobs = cache.namespace("blob", bytes)
        for value in (b"", b"\xc1H", b"\r\n$5", blob):
            blobs.put(value, id="1")
            assert blobs.get(id="1") == value
        packed = cache.namespace("packed", codec="msgpack")
        packed.put({"a": "x" * 100_000}, id="1")
        assert raw(server).strlen("packed:1") < 2000
        assert packed.get(id="1") == {"a": "x" * 100_000}
        assert cache.namespace("packed").get(id="1") == {"a": "x" * 100_000}, (
            "the header says how it is written"
        )


async def test_the_asyncio_face_does_the_same(server: PrivateServer) -> None:
    server.flush()
    async with AsyncCache(server.url, namespaces=namespaces(lease_ms=1000)) as cache:
        bills = cache.namespace("bill.inquiry", Bill)
        calls = []

        async def load(customerId: str, month: str) -> Bill:
            calls.append(customerId)
            await asyncio.sleep(0.01)
            return Bill(total=1, month=month)

        got = await asyncio.gather(*(bills.get_or_load(load, customerId="C1", month="1") for _ in range(50)))
        assert got == [Bill(total=1, month="1")] * 50
        assert calls == ["C1"]
        plain = cache.namespace("bill.kos")
        await plain.put("x", requestId="1")
        assert await plain.get(requestId="1") == "x"
        assert await plain.add("y", requestId="1") is False
        assert await plain.exists(requestId="1")
        assert await cache.namespace("auth.attempts").increment(userId="u") == 1
        keys = {plain.key(requestId=str(n)): n for n in range(150)}
        await plain.put_many(keys)
        assert await plain.get_many(keys) == keys
        assert await plain.delete_many(keys) == 150
        assert await plain.ttl_s(requestId="1") is None

        @cache.cached("product.info")
        async def product(productCode: str) -> Product:
            calls.append(productCode)
            return Product(productCode, 2.0)

        assert await product("5G") == await product("5G") == Product("5G", 2.0)
        assert calls == ["C1", "5G"]
    with pytest.raises(CacheClosed):
        await bills.put(Bill(total=1, month="1"), customerId="C1", month="1")


async def test_the_asyncio_face_refuses_what_the_blocking_one_refuses(server: PrivateServer) -> None:
    async with AsyncCache(server.url, namespaces=namespaces()) as cache:
        for name in ("bill.inquiry", "bill.kos"):  # in the first tier, and not
            kept = cache.namespace(name)
            wrong: list[dict[str, Any]] = [
                {},
                {"requestId": "a:b", "customerId": "a:b", "month": "1"},
                {"year": "1"},
            ]
            for fields in wrong:
                with pytest.raises((KeyInvalid, TypeError)):
                    await kept.get(**fields)
                with pytest.raises((KeyInvalid, TypeError)):
                    await kept.get_or_load(lambda **_: 1, **fields)
                with pytest.raises(KeyInvalid):
                    await kept.put(1, **fields)
            for key in (b"bill:kos:1", 7, "", "auth:session:u:s", "bill:kos:"):
                with pytest.raises(KeyInvalid):
                    await kept.get(key)  # type: ignore[arg-type]
                with pytest.raises(KeyInvalid):
                    await kept.get_many([key])  # type: ignore[list-item]
        for value in (None, object(), {1, 2}, float("nan"), 2**70):
            with pytest.raises(ValueRefused):
                await cache.namespace("bill.kos").put(value, requestId="1")
        for ttl_s in (float("nan"), -1, 3601):
            with pytest.raises(ValueRefused, match="TTL"):
                await cache.namespace("bill.kos").put(1, requestId="1", ttl_s=ttl_s)


async def test_joined_reads_of_what_is_there_and_what_is_not(server: PrivateServer) -> None:
    """Fifty reads of one turn are one MGET; each caller gets what is its own: values, nothing, what cannot be read."""
    server.flush()
    link = raw(server)
    link.set("bill:kos:bad", b"\xff\xfe{")
    link.hset("bill:kos:hash", "a", "b")
    async with AsyncCache(server.url, namespaces=namespaces(compress_above_bytes=50)) as cache:
        kept = cache.namespace("bill.kos")
        for n in range(20):
            await kept.put({"n": n}, requestId=str(n))
        names = [*map(str, range(20)), "none", "bad", "hash"]
        before = link.info("commandstats").get("cmdstat_mget", {}).get("calls", 0)
        got = await asyncio.gather(*(kept.get(requestId=name) for name in names * 3))
        assert got == [*({"n": n} for n in range(20)), None, None, None] * 3
        assert link.info("commandstats")["cmdstat_mget"]["calls"] > before
        keys = [kept.key(requestId=name) for name in (*names, *names)]
        assert await kept.get_many(keys) == {f"bill:kos:{n}": {"n": n} for n in range(20)}
        misses = cache.shared.figures.misses
        assert await kept.get_many([kept.key(requestId="none"), kept.key(requestId="no")]) == {}
        assert cache.shared.figures.misses == misses + 2


async def test_a_decorated_coroutine_function_is_called_once_too(server: PrivateServer) -> None:
    async with AsyncCache(server.url, namespaces=namespaces()) as cache:
        asked: list[str] = []

        @cache.cached("product.info")
        async def product(productCode: str) -> str:
            asked.append(productCode)
            return productCode.lower()

        assert inspect.iscoroutinefunction(product)
        for _ in range(500):
            assert await product("E1") == "e1"
            if "product:info:E1" in cache.shared.l1.entries:
                break
            await asyncio.sleep(0.01)
        hits = cache.health().figures["hits_l1"]
        assert await product("E1") == await product(productCode="E1") == "e1"
        assert cache.health().figures["hits_l1"] == hits + 2
        assert await product.namespace.delete(productCode="E1")  # type: ignore[attr-defined]
        assert await product("E1") == "e1"
        assert asked == ["E1", "E1"]
        with pytest.raises(TypeError):
            await product()


def test_an_asyncio_cache_belongs_to_one_loop(server: PrivateServer) -> None:
    cache = AsyncCache(server.url, namespaces=namespaces())
    bills = cache.namespace("bill.kos")

    async def first() -> None:
        await bills.put(1, requestId="1")

    async def second() -> None:
        with pytest.raises(CacheClosed, match="another event loop"):
            await bills.get(requestId="1")
        await cache.close()

    asyncio.run(first())
    asyncio.run(second())
