"""What TLS means on every engine that has it: no plaintext, no old versions, no foreign certificates."""

from __future__ import annotations

import datetime
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from tests.live.conftest import AT_HAND, need
from tests.live.engine.servers import Server, cache_spec, make_tls, running, until, write_tls
from tests.live.ports import LOOPBACK

from holdfast.engine.build import EngineBuild
from holdfast.engine.connection import Endpoint, EngineNode, NodeGone, NodeSilent, TlsTrust
from holdfast.engine.issued import CertificateUnusable, Issued, Subject
from holdfast.engine.process import NodeRefusedToStart
from holdfast.engine.refusal import Cause
from holdfast.engine.tls import issue, make_authority, refuse_unusable

ABLE = [name for name, build in AT_HAND.items() if build.tls]
NOW = datetime.datetime.now(datetime.UTC)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=ABLE or ["an engine with TLS"])
def build(request: pytest.FixtureRequest) -> EngineBuild:
    return need(request.param)


def required(min_version: str = "1.2") -> dict[str, Any]:
    return {"security": {"tls": {"mode": "required", "min_version": min_version}}}


async def pinged(endpoint: Endpoint) -> str:
    async with await EngineNode.connect(endpoint, timeout_s=3) as node:
        return str(await node.ask("PING"))


def spoken(server: Server, *, oldest: ssl.TLSVersion, newest: ssl.TLSVersion) -> str | None:
    """The TLS version that the server agrees on, or None where it does not."""
    assert server.facts.tls is not None
    context = ssl.create_default_context(cafile=server.facts.tls.ca)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = oldest, newest
    try:
        with (
            socket.create_connection((LOOPBACK, server.facts.port), timeout=3) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as link,
        ):
            return link.version()
    except (ssl.SSLError, ConnectionError):
        return None


async def test_services_come_in_by_password_over_tls_and_nobody_in_plaintext(
    build: EngineBuild, tmp_path: Path
) -> None:
    async with running(
        build, tmp_path / "n", cache_spec(**required()), tls=make_tls(tmp_path / "tls")
    ) as server:
        assert await pinged(server.front("bill")) == "PONG"
        assert await pinged(server.door()) == "PONG", "the supervisor's door stays open"
        front = server.front("bill")
        with pytest.raises((NodeGone, NodeSilent)):
            await pinged(Endpoint(front.host, front.port, front.credentials))


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
@pytest.mark.parametrize("oldest", ["1.2", "1.3"])
async def test_only_the_versions_asked_for_are_spoken(
    build: EngineBuild, tmp_path: Path, oldest: str
) -> None:
    spec = cache_spec(**required(oldest))
    async with running(build, tmp_path / "n", spec, tls=make_tls(tmp_path / "tls")) as server:
        v1, v2, v3 = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
        assert spoken(server, oldest=v1, newest=v1) is None
        assert spoken(server, oldest=v2, newest=v2) == ("TLSv1.2" if oldest == "1.2" else None)
        assert spoken(server, oldest=v3, newest=v3) == "TLSv1.3"


async def test_a_server_of_another_authority_is_not_believed(build: EngineBuild, tmp_path: Path) -> None:
    strange = make_tls(tmp_path / "strange")
    async with running(
        build, tmp_path / "n", cache_spec(**required()), tls=make_tls(tmp_path / "tls")
    ) as server:
        front = server.front("bill")
        with pytest.raises(NodeGone, match="certificate"):
            await pinged(Endpoint(front.host, front.port, front.credentials, tls=TlsTrust(strange.ca)))


async def test_a_shown_certificate_must_be_ours(build: EngineBuild, tmp_path: Path) -> None:
    """None is asked of services; one that is shown is checked."""
    authority = make_authority("cart", 30, NOW)
    node = issue(authority, Subject.NODE, "cart-1", ("localhost", LOOPBACK), 30, NOW)
    tls = write_tls(tmp_path / "tls", authority, node)
    ours = issue(authority, Subject.SERVICE, "bill", (), 30, NOW)
    foreign = issue(make_authority("cart", 30, NOW), Subject.SERVICE, "bill", (), 30, NOW)
    async with running(build, tmp_path / "n", cache_spec(**required()), tls=tls) as server:
        front = server.front("bill")
        for shown, welcome in ((ours, True), (foreign, False)):
            files = write_tls(tmp_path / f"client-{welcome}", authority, shown)
            endpoint = Endpoint(
                front.host, front.port, front.credentials, tls=TlsTrust(tls.ca, files.cert, files.key)
            )
            if welcome:
                assert await pinged(endpoint) == "PONG"
            else:
                with pytest.raises((NodeGone, NodeSilent)):
                    await pinged(endpoint)


async def test_replication_runs_under_tls(build: EngineBuild, tmp_path: Path) -> None:
    spec = cache_spec(topology={"mode": "replicated", "replicas": 1}, **required())
    tls = make_tls(tmp_path / "tls")
    async with (
        running(build, tmp_path / "p", spec, tls=tls) as primary,
        running(build, tmp_path / "r", spec, tls=tls, primary=(LOOPBACK, primary.facts.port)),
        primary.link("auth") as writer,
    ):

        async def copied() -> bool:
            await writer.ask("SET", "auth:session:1:2", "x")
            return bool(await writer.ask("WAIT", 1, 500))

        await until(copied)


@pytest.mark.parametrize("broken", ["missing", "rubbish", "other key"])
async def test_a_certificate_that_cannot_be_used_is_told(
    build: EngineBuild, tmp_path: Path, broken: str
) -> None:
    tls = make_tls(tmp_path / "tls")
    if broken == "missing":
        Path(tls.cert).unlink()
    elif broken == "rubbish":
        Path(tls.cert).write_text("rubbish")
    else:
        Path(tls.key).write_bytes(Path(make_tls(tmp_path / "other").key).read_bytes())
    with pytest.raises(NodeRefusedToStart) as told:
        async with running(build, tmp_path / "n", cache_spec(**required()), tls=tls):
            pass
    assert told.value.cause is Cause.CERTIFICATE


async def test_an_ended_certificate_is_refused_by_us_for_the_server_would_not_notice(
    build: EngineBuild, tmp_path: Path
) -> None:
    long_ago = NOW - datetime.timedelta(days=60)
    authority = make_authority("cart", 365, long_ago)
    ended = issue(authority, Subject.NODE, "cart-1", ("localhost", LOOPBACK), 30, long_ago)
    tls = write_tls(tmp_path / "tls", authority, ended)
    async with running(build, tmp_path / "n", cache_spec(**required()), tls=tls) as server:
        with pytest.raises(NodeGone, match="expired"):
            await pinged(server.front("bill"))
    with pytest.raises(CertificateUnusable, match="ended on"):
        refuse_unusable(
            Issued(ended.cert_pem, ended.key_pem), authority.cert_pem, NOW, "the certificate of cart-1"
        )


async def test_a_new_certificate_is_taken_without_a_restart(build: EngineBuild, tmp_path: Path) -> None:
    """Setting the same path again makes the server read the file again."""
    authority = make_authority("cart", 365, NOW)
    tls = write_tls(
        tmp_path / "tls", authority, issue(authority, Subject.NODE, "cart-1", (LOOPBACK,), 1, NOW)
    )
    async with (
        running(build, tmp_path / "n", cache_spec(**required()), tls=tls) as server,
        server.link() as node,
    ):
        assert spoken(server, oldest=ssl.TLSVersion.TLSv1_2, newest=ssl.TLSVersion.TLSv1_3) is None, (
            "not good for localhost"
        )
        write_tls(
            tmp_path / "tls", authority, issue(authority, Subject.NODE, "cart-1", ("localhost",), 1, NOW)
        )
        await node.ask("CONFIG", "SET", "tls-cert-file", tls.cert, "tls-key-file", tls.key)
        assert spoken(server, oldest=ssl.TLSVersion.TLSv1_2, newest=ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
