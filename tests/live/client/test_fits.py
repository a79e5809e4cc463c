"""The library inside what applications are built with: FastAPI, Django, Flask, Celery, pytest; and its own token store."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from starlette.testclient import TestClient
from tests.live.client.servers import engine_server, namespaces, raw, replicated, until

from holdfast.client import AsyncCache, Cache, ValueRefused
from holdfast.client.auth import AUTH_NAMESPACES, AsyncAuthTokens, AuthTokens, TokenOwner, token_hash
from holdfast.client.fastapi import cache_lifespan, cache_of
from holdfast.testing import NoPrivateServer, PrivateServer, private_server

ROOT = Path(__file__).resolve().parents[3]
OWNER = TokenOwner("a@example.com", 31, "FEMALE", "USER", "10.0.1.7")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def server() -> Iterator[PrivateServer]:
    with engine_server("valkey-9.1") as started:
        yield started


def test_fastapi(server: PrivateServer) -> None:
    server.flush()
    opened: list[AsyncCache] = []
    ended = []

    def open_cache() -> AsyncCache:
        opened.append(AsyncCache(server.url, namespaces=namespaces()))
        return opened[-1]

    @asynccontextmanager
    async def own(app: Any) -> Any:
        yield {"own": 1}
        ended.append(app)

    app = FastAPI(lifespan=cache_lifespan(open_cache, own))
    asked = []

    @app.get("/bills/{month}")
    async def bill(month: str, cache: Annotated[AsyncCache, Depends(cache_of)]) -> dict[str, Any]:
        async def load(customerId: str, month: str) -> dict[str, Any]:
            asked.append(month)
            return {"total": 7}

        found = await cache.namespace("bill.inquiry").get_or_load(load, customerId="C1", month=month)
        return found or {}

    with TestClient(app) as client:
        assert [client.get("/bills/202509").json() for _ in range(3)] == [{"total": 7}] * 3
    assert asked == ["202509"]
    assert opened[0].shared.closed
    assert ended


def test_django(server: PrivateServer) -> None:
    server.flush()
    code = f"""
        import django, threading
        from django.conf import settings
        settings.configure(CACHES={{
            "default": {{"BACKEND": "holdfast.client.django.HoldfastCache", "LOCATION": "{server.url}"}},
            "any": {{"BACKEND": "holdfast.client.django.HoldfastCache", "LOCATION": "{server.url}",
                     "OPTIONS": {{"values": "pickle", "pattern": "any:{{key}}"}}, "VERSION": 2}},
        }})
        django.setup()
        from django.core.cache import cache, caches
        assert cache.get("a") is None and cache.get("a", 5) == 5
        cache.set("a:b c", {{"x": [1]}}, 60)
        assert cache.get("a:b c") == {{"x": [1]}} and "a:b c" in cache
        assert cache.add("n", 1) and not cache.add("n", 2)
        assert cache.incr("n", 4) == 5 and cache.get("n") == 5 and cache.decr("n") == 4
        try: cache.incr("nobody")
        except ValueError: pass
        else: raise AssertionError
        assert cache.set_many({{"p": 1, "q": 2}}) == [] and cache.get_many(["p", "q", "r"]) == {{"p": 1, "q": 2}}
        cache.delete_many(["p", "q"]); assert cache.get_many(["p", "q"]) == {{}}
        assert cache.touch("n", 30) and not cache.touch("nobody")
        cache.set("gone", 1, 0); assert cache.get("gone") is None
        cache.set("none", None); assert cache.get("none", 7) is None
        assert cache.get_or_set("made", lambda: 9) == 9 and cache.get("made") == 9
        assert cache.delete("made") and not cache.delete("made")
        thing = caches["any"]; thing.set("s", {{1, 2}}); assert thing.get("s") == {{1, 2}} and cache.get("s") is None
        seen = []
        workers = [threading.Thread(target=lambda: seen.append(cache.get("n"))) for _ in range(4)]
        [w.start() for w in workers]; [w.join() for w in workers]
        assert seen == [4] * 4
        print("all right")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "all right", done.stderr


def test_flask_and_celery(server: PrivateServer) -> None:
    server.flush()
    code = """
        import sys; sys.path.insert(0, sys.argv[1])
        import flask_app
        with flask_app.app.test_client() as client:
            assert [client.get("/products/5G").json["monthlyFee"] for _ in range(3)] == [69000] * 3
        assert flask_app.asked == ["5G"]
        import celery_app
        assert celery_app.prepare.apply(args=("C1", "202509")).get() == celery_app.bills.get(customerId="C1", month="202509")
        print("all right")
    """
    environ = {"HOLDFAST_PROFILE": server.url, "HOLDFAST_URL": server.url, "PATH": "/usr/bin"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(ROOT / "examples" / "client")],
        capture_output=True,
        text=True,
        timeout=60,
        env=environ,
    )
    assert done.stdout.strip() == "all right", done.stderr


def test_every_block_of_the_manual_does_what_it_says(server: PrivateServer, tmp_path: Path) -> None:
    """One after the other in one program, as a reader would type them; only the server's port is another."""
    from holdfast.profile import Profile, Seed

    server.flush()
    page = (ROOT / "docs" / "client.md").read_text()
    first, opened, namespaced, hook = (each.split("```")[0] for each in page.split("```python\n")[1:])
    declared = namespaces()
    declared["auth.session"] = replace(declared["auth.session"], shorter_ttls_s={"without-auto-login": 1800})
    seeds = (Seed("127.0.0.1", server.port),)
    profile = Profile("demo", "shop", "standalone", seeds, "", "", None, namespaces=declared)
    path = tmp_path / "bill-inquiry.profile.json"
    path.write_bytes(profile.to_json())
    program = "\n".join(
        (
            first.replace("localhost:6379", f"127.0.0.1:{server.port}"),
            "assert product.namespace.get(productCode='5G-PREMIUM-001') is None",
            "with cache: pass",
            opened,
            "with cache: pass",
            namespaced.replace("localhost:6379", f"127.0.0.1:{server.port}"),
            "assert sessions.get(userId='u1', sessionId='s1') == {'role': 'user'}",
            "assert 1790 < sessions.ttl_s(userId='u1', sessionId='s1') <= 86400",
            "assert bills.get(key) is None",
        )
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "nothing is left to complain about when it is not closed"
    product = "Product(code='5G-PREMIUM-001', monthly_fee=89000.0)"
    assert done.stdout.splitlines() == ["asking the carrier", product, product, product]

    where = "/etc/shop/bill-inquiry.profile.json"
    assert where in hook
    told = '{"primary_host": "10.1.2.3", "primary_port": 7000}'
    subprocess.run(
        [sys.executable, "-c", hook.replace(where, str(path))], input=told, text=True, timeout=60, check=True
    )
    assert Profile.from_json(path.read_bytes(), "hook").seeds == (Seed("10.1.2.3", 7000),)


def test_the_pytest_fixture_gives_an_empty_cache_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["holdfast.testing.plugin"]\n')
    (tmp_path / "test_app.py").write_text(
        textwrap.dedent("""
        import pytest
        from holdfast.client import Cache, declare

        @pytest.mark.parametrize("turn", [1, 2])
        def test_bills(holdfast_server, turn):
            with Cache(holdfast_server.url, namespaces={"bill": declare("bill:{id}", ttl_s=60)}) as cache:
                bills = cache.namespace("bill")
                assert bills.get(id="1") is None
                bills.put(turn, id="1")
                assert bills.get(id="1") == turn
                print("pid", holdfast_server.pid)
        """)
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=90,
        cwd=tmp_path,
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr
    pids = {line.split("pid ")[1] for line in done.stdout.splitlines() if "pid " in line}
    assert pids
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), 5)


def test_a_server_that_does_not_start_is_told_with_its_words() -> None:
    with pytest.raises(NoPrivateServer, match="holdfast"), private_server(["/nowhere/valkey-server"]):
        pass
    from tests.live.conftest import need

    command = need("valkey-9.1").command
    with (
        pytest.raises(NoPrivateServer, match="no-such-directive"),
        private_server(command, settings={"no-such-directive": "1"}),
    ):
        pass


def test_tokens_are_kept_found_judged_and_ended() -> None:
    with replicated("valkey-9.1") as servers:
        url = "valkey://" + ",".join(f"127.0.0.1:{each.port}" for each in servers)
        with Cache(url, namespaces=AUTH_NAMESPACES) as cache:
            tokens = AuthTokens(cache)
            tokens.add_access_token("t1", OWNER, expires_in_s=600)
            assert tokens.owner_by_access_token("t1") == OWNER
            assert tokens.email_by_access_token("t1") == "a@example.com"
            assert tokens.is_access_token_valid("t1")
            assert tokens.email_by_access_token("t2") is None
            assert not any(key.split(b":")[1] == b"t1" for key in raw(servers[0]).keys("*")), (
                "no token in a key"
            )
            assert raw(servers[0]).exists("access:" + token_hash("t1"))
            # A replica that no longer hears of revocations: validity is the primary's word.
            raw(servers[1]).execute_command("REPLICAOF", "127.0.0.1", "1")
            assert tokens.revoke_access_token("t1")
            assert not tokens.is_access_token_valid("t1")
            assert not tokens.revoke_access_token("t1")
            for bad in ("", None, "x" * 20_000, b"t"):
                with pytest.raises(ValueRefused):
                    tokens.is_access_token_valid(bad)  # type: ignore[arg-type]


def test_a_refresh_token_is_good_once(server: PrivateServer) -> None:
    server.flush()
    with Cache(server.url, namespaces=AUTH_NAMESPACES) as cache:
        tokens = AuthTokens(cache)
        tokens.add_refresh_token("r0", OWNER)
        got: list[TokenOwner | None] = []

        def spend(index: int) -> None:
            got.append(tokens.refresh("r0", f"a{index}", f"r{index}"))

        threads = [threading.Thread(target=spend, args=(index,)) for index in range(1, 9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(each is not None for each in got) == [False] * 7 + [True]
        assert sum(tokens.is_access_token_valid(f"a{n}") for n in range(1, 9)) == 1
        assert not tokens.is_refresh_token_valid("r0")


async def test_tokens_for_asyncio(server: PrivateServer) -> None:
    server.flush()
    async with AsyncCache(server.url, namespaces=AUTH_NAMESPACES) as cache:
        tokens = AsyncAuthTokens(cache)
        await tokens.add_access_token("t1", OWNER)
        await tokens.add_refresh_token("r0", OWNER)
        assert await tokens.email_by_access_token("t1") == "a@example.com"
        spent = await asyncio.gather(*(tokens.refresh("r0", f"a{n}", f"r{n}") for n in range(1, 9)))
        assert sum(each is not None for each in spent) == 1
        assert await tokens.owner_by_refresh_token("r0") is None
        assert await tokens.revoke_access_token("t1")
        assert not await tokens.is_access_token_valid("t1")
        assert not await tokens.is_refresh_token_valid("r0")
        assert not await tokens.revoke_refresh_token("r0")


def test_prometheus_and_opentelemetry_tell_the_same(server: PrivateServer) -> None:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from prometheus_client import CollectorRegistry, generate_latest

    from holdfast.client.metrics import to_opentelemetry, to_prometheus

    server.flush()
    registry, reader = CollectorRegistry(), InMemoryMetricReader()
    meter = MeterProvider([reader]).get_meter("test")
    with Cache(server.url, namespaces=namespaces()) as cache:
        bills = cache.namespace("bill.inquiry")
        bills.get_or_load(lambda **_: 1, customerId="C1", month="1")
        until(lambda: bills.get(customerId="C1", month="1") == 1 and cache.shared.l1.entries)
        bills.get(customerId="C1", month="1")
        take_back = to_prometheus(cache, registry)
        to_opentelemetry(cache, meter)
        text = generate_latest(registry).decode()
        figures = cache.health().figures
        assert (
            f'holdfast_client_hits_l1_total{{cache="{cache.health().cache}"}} {float(figures["hits_l1"])}'
            in text
        )
        assert "holdfast_client_loads_total" in text
        assert (
            f'holdfast_client_coherent{{cache="{cache.health().cache}",node="127.0.0.1:{server.port}"}} 1.0'
            in text
        )
        assert "holdfast_client_invalidation_lag_seconds_bucket" in text
        data = reader.get_metrics_data()
        assert data is not None
        points = {
            metric.name: [point.value for point in metric.data.data_points]  # type: ignore[union-attr]
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }
        assert points["holdfast.client.hits_l1"] == [figures["hits_l1"]]
        assert points["holdfast.client.coherent"] == [1.0]
        take_back()
        assert generate_latest(registry) == b""
