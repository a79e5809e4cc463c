"""Certificates that have ended: `status` tells, `up` renews them in place, and no process is restarted for it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from tests.live.badluck.caches import bring_up, copied, healthy, node_folder, pids, read, spec_text, write
from tests.live.conftest import Bench, need

from holdfast.engine import tls
from holdfast.engine.issued import Issued, Subject
from holdfast.state import StateFolder, write_private
from holdfast.supervisor.client import SupervisorClient
from holdfast.topology.record import Kind
from holdfast.topology.store import CacheStore

ENGINE = "redis-7.0"


def with_tls(mode: str) -> str:
    need(ENGINE)
    return spec_text(mode=mode, persistence="aof", engine=ENGINE, tls="required")


def let_certificates_end(bench: Bench, *, load: bool) -> None:
    """Give every node a certificate that ended yesterday. Args: `load`, have the running servers use it."""
    store = CacheStore(StateFolder(bench.state), "shop")
    past = datetime.now(UTC) - timedelta(days=3)
    authority = Issued(
        (store.folder / "tls" / "ca.pem").read_bytes(), (store.folder / "tls" / "ca.key").read_bytes()
    )

    async def replace() -> None:
        async with SupervisorClient("local", bench.state / "supervisor" / "socket") as host:
            for member in store.record().members:
                name, folder = member.name, node_folder(bench, member.name)
                names = tls.names_of((folder / "node.pem").read_bytes())
                ended = tls.issue(authority, Subject.NODE, name, names, 2, past)
                for path, content in (
                    (store.folder / "tls" / f"{name}.pem", ended.cert_pem),
                    (store.folder / "tls" / f"{name}.key", ended.key_pem),
                    (folder / "node.pem", ended.cert_pem),
                    (folder / "node.key", ended.key_pem),
                ):
                    write_private(path, content)
                if load and member.kind is Kind.SERVER:
                    await host.ask("shop", name, ("CONFIG", "SET", "tls-cert-file", str(folder / "node.pem")))
                elif load:  # a sentinel reads its certificate only when it starts
                    await host.stop("shop", name)
                    with contextlib.suppress(TimeoutError):  # nobody can ask it whether it is ready
                        await asyncio.wait_for(host.start("shop", name), 3)

    asyncio.run(replace())


def days_left(bench: Bench, name: str) -> float:
    """What the certificate that a node itself shows to a client has left."""
    store = CacheStore(StateFolder(bench.state), "shop")
    member = store.record().member(name)
    context = ssl.create_default_context(cafile=str(store.ca_file))
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    shown = ssl.get_server_certificate((member.address, member.port))
    return tls.days_left(shown.encode(), datetime.now(UTC))


@pytest.mark.parametrize("mode", ["replicated", pytest.param("cluster", marks=pytest.mark.long)])
def test_certificates_that_ended_while_the_cache_runs(bench: Bench, mode: str) -> None:
    path = bring_up(bench, with_tls(mode))
    kept, before = write(bench, "shop"), pids(bench)
    let_certificates_end(bench, load=True)
    assert days_left(bench, "n1") < 0

    status = bench.run("status", "shop")
    assert status.code == 3
    assert "certificate has expired" in status.out
    plan = bench.run("plan", str(path))
    assert plan.code == 3
    assert "renew the certificates of n1, n2" in plan.out

    bench.run("up", str(path), check=True)
    healthy(bench)
    assert pids(bench) == before
    assert min(days_left(bench, name) for name in before) > 300
    assert read(bench, "shop", kept) == kept


@pytest.mark.long
def test_certificates_of_sentinels_that_ended(bench: Bench) -> None:
    path = bring_up(bench, with_tls("sentinel"))
    kept, before = write(bench, "shop"), pids(bench)
    copied(bench, "shop", "n2", len(kept))
    let_certificates_end(bench, load=True)
    bench.run("up", str(path), check=True)
    healthy(bench)
    after = pids(bench)
    assert {name: pid for name, pid in after.items() if not name.startswith("sentinel")} == {
        name: pid for name, pid in before.items() if not name.startswith("sentinel")
    }
    assert min(days_left(bench, name) for name in after) > 300
    assert read(bench, "shop", kept) == kept


def test_certificates_that_ended_while_the_cache_was_down(bench: Bench) -> None:
    path = bring_up(bench, with_tls("replicated"))
    kept = write(bench, "shop")
    copied(bench, "shop", "n2", len(kept))
    let_certificates_end(bench, load=False)
    bench.run("down", "shop", check=True)
    bench.run("up", str(path), check=True)
    healthy(bench)
    assert min(days_left(bench, name) for name in ("n1", "n2")) > 300
    assert read(bench, "shop", kept) == kept


@pytest.mark.long
def test_a_certificate_and_key_that_are_lost_are_issued_anew(bench: Bench) -> None:
    path = bring_up(bench, with_tls("standalone"))
    before = pids(bench)
    folder = bench.state / "caches" / "shop" / "tls"
    (folder / "n1.key").unlink()
    bench.run("up", str(path), check=True)
    healthy(bench)
    assert (folder / "n1.key").stat().st_mode & 0o777 == 0o600
    assert pids(bench) == before
