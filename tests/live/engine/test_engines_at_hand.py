"""Every engine of this machine: what its build says of it holds when another client tries it."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis.backoff import NoBackoff
from redis.retry import Retry
from tests.live.conftest import AT_HAND

from holdfast.engine.build import EngineBuild

ONCE = Retry(NoBackoff(), 0)

WITH_TLS = {name: build for name, build in AT_HAND.items() if build.tls}

each_engine = pytest.mark.parametrize("build", AT_HAND.values(), ids=AT_HAND)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(minutes=5))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return folder / "crt", folder / "key"


@contextlib.contextmanager
def running(
    build: EngineBuild, folder: Path, options: Mapping[str, str], patience_s: float = 10
) -> Iterator[int]:
    """The engine on a loopback port that was free a moment ago; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = int(holder.getsockname()[1])
    arguments = [word for name, value in options.items() for word in (f"--{name}", value.format(port=port))]
    command = [*build.command, "--bind", "127.0.0.1", "--dir", str(folder), "--save", "", *arguments]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline and server.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.02)
        yield port
    finally:
        server.kill()
        server.wait(10)


def tls_options(certificate: tuple[Path, Path], **more: str) -> dict[str, str]:
    crt, key = map(str, certificate)
    files = {"tls-cert-file": crt, "tls-key-file": key, "tls-ca-cert-file": crt, "tls-auth-clients": "no"}
    return {"port": "0", "tls-port": "{port}", **files, **more}


def client(port: int, certificate: tuple[Path, Path]) -> redis.Redis:
    return redis.Redis(
        host="localhost",
        port=port,
        ssl=True,
        ssl_ca_certs=str(certificate[0]),
        socket_timeout=5,
        socket_connect_timeout=5,
        retry=ONCE,
    )


@each_engine
def test_it_serves_tls_exactly_where_it_says_so(
    build: EngineBuild, tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    patience_s = 10 if build.tls else 1  # builds with TLS listen within 0.1 s
    with (
        running(build, tmp_path, tls_options(certificate), patience_s) as port,
        client(port, certificate) as link,
    ):
        if build.tls:
            assert link.set("cart:1", "x" * 100_000)
            assert link.get("cart:1") == b"x" * 100_000
            with pytest.raises(redis.ConnectionError):
                redis.Redis(host="127.0.0.1", port=port, socket_timeout=2, retry=ONCE).ping()
        else:
            with pytest.raises(redis.ConnectionError):
                link.ping()


@pytest.mark.parametrize("build", WITH_TLS.values(), ids=WITH_TLS)
def test_where_it_has_tls_it_speaks_1_3_and_can_be_held_to_it(
    build: EngineBuild, tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    with running(build, tmp_path, tls_options(certificate, **{"tls-protocols": "TLSv1.3"})) as port:
        trust = ssl.create_default_context(cafile=str(certificate[0]))
        with (
            socket.create_connection(("localhost", port), 5) as plain,
            trust.wrap_socket(plain, server_hostname="localhost") as link,
        ):
            assert link.version() == "TLSv1.3"
        trust.maximum_version = ssl.TLSVersion.TLSv1_2
        with socket.create_connection(("localhost", port), 5) as plain, pytest.raises(ssl.SSLError):
            trust.wrap_socket(plain, server_hostname="localhost")


@each_engine
def test_its_version_commands_and_directives_are_its_own(build: EngineBuild, tmp_path: Path) -> None:
    with (
        running(build, tmp_path, {"port": "{port}", "replica-read-only": "yes"}) as port,
        redis.Redis(host="127.0.0.1", port=port, socket_timeout=5, decode_responses=True) as link,
    ):
        info = link.info("server")
        assert build.version_text == info.get("valkey_version", info["redis_version"])
        assert (build.name == "valkey") == ("valkey_version" in info)
        assert set(link.config_get("*")) <= build.config_names
        assert len([name for name in build.commands if "|" not in name]) == link.command_count()
        assert build.sentinel
        assert link.save()
    assert (tmp_path / "dump.rdb").read_bytes().startswith(build.rdb_magic.encode())
