"""Start one server program for a moment and ask it what it can do; nothing is guessed from its name."""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis.connection
from redis.exceptions import RedisError

from holdfast.engine.build import EngineName, parse_version

PROBE_TIMEOUT_S = 10.0
"""For all the questions together; a build needs about 0.3 s."""

SOCKET_PATH_MAX_BYTES = 100
"""A Unix socket's path has room for 107 bytes on Linux and 103 on macOS."""

_WORDS_MAX = 300

_connection: Any = redis.connection.UnixDomainSocketConnection  # redis-py does not type this class


class ProbeFailed(Exception):
    """The program did not work as an engine; the text is its own last words. Never leaves the package."""


@dataclass(frozen=True)
class Answers:
    """What one program said and showed of itself; the fields are those of `EngineBuild`."""

    name: EngineName
    version: tuple[int, int, int]
    tls: bool
    rdb_version: int
    sentinel: bool
    commands: frozenset[str]
    config_names: frozenset[str]


def probe(command: Sequence[str], timeout_s: float = PROBE_TIMEOUT_S) -> Answers:
    """Start `command` twice in a private folder (as server, as Sentinel), ask, stop it again.

    It listens on a Unix socket, and for the TLS question on a loopback port with a throw-away certificate.
    Raises: ProbeFailed with the program's last words when it does not start, answer or stop in time.
    """
    deadline = time.monotonic() + timeout_s
    with _private_folder() as folder:
        sock = folder / "s"
        # "-" before an address: go on without it where the machine has only the other IP version.
        arguments = ["--port", "0", "--bind", "-127.0.0.1", "-::1", "--unixsocket", str(sock)]
        arguments += ["--unixsocketperm", "700", "--dir", str(folder), "--save", "", "--daemonize", "no"]
        with _started([*command, *arguments], folder, deadline) as server:
            door = server.door(sock)
            info = _info(door.ask("INFO", "server"))
            name, version = _who(info)
            config_names = _config_names(door.ask("CONFIG", "GET", "*"))
            commands = _command_names(door.ask("COMMAND"))
            door.ask("SAVE")
            rdb_version = _rdb_version(folder / "dump.rdb")
            tls = "tls-port" in config_names and _serves_tls(door, folder, deadline)
        return Answers(
            name=name,
            version=version,
            tls=tls,
            rdb_version=rdb_version,
            sentinel=_runs_as_sentinel(command, folder, deadline),
            commands=commands,
            config_names=config_names,
        )


@contextlib.contextmanager
def _private_folder() -> Iterator[Path]:
    """A 0700 folder whose path leaves room for a socket's name, also where TMPDIR is deep."""
    folder = tempfile.mkdtemp(prefix="hf-probe-")
    try:
        if len(os.fsencode(folder)) + 2 > SOCKET_PATH_MAX_BYTES:
            Path(folder).rmdir()
            folder = tempfile.mkdtemp(prefix="hf-probe-", dir="/tmp")
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Door:
    """One connection to the program's Unix socket, every wait within the deadline."""

    def __init__(self, link: Any) -> None:
        self._link = link

    def ask(self, *words: str) -> Any:
        try:
            self._link.send_command(*words)
            return self._link.read_response()
        except (RedisError, OSError) as refused:
            raise ProbeFailed(f"{words[0]}: {refused}") from refused

    def close(self) -> None:
        self._link.disconnect()


class _Started:
    """The running program: its process, its log, and the way to its socket."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, deadline: float) -> None:
        self._process = process
        self._log = log
        self._deadline = deadline
        self._doors: list[_Door] = []

    def door(self, sock: Path) -> _Door:
        """Wait until it listens, and connect.

        Raises: ProbeFailed when it ends or the deadline passes first.
        """
        while time.monotonic() < self._deadline:
            left_s = max(0.1, self._deadline - time.monotonic())
            link = _connection(path=str(sock), socket_timeout=left_s, protocol=2)
            try:
                link.connect()
            except (RedisError, OSError):
                link.disconnect()
                if self._process.poll() is not None:
                    raise ProbeFailed(self._last_words()) from None
                time.sleep(0.01)
                continue
            door = _Door(link)
            self._doors.append(door)
            return door
        raise ProbeFailed("did not listen in time; its last words: " + self._last_words())

    def _last_words(self) -> str:
        with self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - 4096))
            lines = log.read().decode("utf-8", "replace").splitlines()
        said = " / ".join(line.strip() for line in lines[-3:] if line.strip())
        if not said:
            code = self._process.poll()
            said = f"nothing (exit code {code})" if code is not None else "nothing"
        return "".join(c if c.isprintable() else "?" for c in said)[-_WORDS_MAX:]

    def stop(self) -> None:
        """End it and wait for its end: politely, then not."""
        for door in self._doors:
            door.close()
        for sign, patience_s in ((signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0)):
            if self._process.poll() is not None:
                return
            self._process.send_signal(sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience_s)


@contextlib.contextmanager
def _started(arguments: Sequence[str], folder: Path, deadline: float) -> Iterator[_Started]:
    log = folder / "log"
    try:
        with log.open("wb") as said:
            process = subprocess.Popen(
                list(arguments),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                cwd=folder,
                env={"LC_ALL": "C", "PATH": os.defpath},
                start_new_session=True,  # Ctrl-C reaches us, and we stop it
            )
    except OSError as refused:
        raise ProbeFailed(refused.strerror or str(refused)) from refused
    server = _Started(process, log, deadline)
    try:
        yield server
    finally:
        server.stop()


def _runs_as_sentinel(command: Sequence[str], folder: Path, deadline: float) -> bool:
    config, sock = folder / "sentinel.conf", folder / "z"
    config.write_text(f'port 0\nunixsocket "{sock}"\ndir "{folder}"\n')
    try:
        with _started([*command, str(config), "--sentinel"], folder, deadline) as server:
            info = _info(server.door(sock).ask("INFO", "server"))
    except ProbeFailed:
        return False
    return "sentinel" in (info.get("redis_mode"), info.get("server_mode"))


def _info(reply: Any) -> dict[str, str]:
    if not isinstance(reply, bytes):
        raise ProbeFailed("INFO: the answer is not a text")
    lines = reply.decode("utf-8", "replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _who(info: dict[str, str]) -> tuple[EngineName, tuple[int, int, int]]:
    try:
        if "valkey_version" in info:
            return "valkey", parse_version(info["valkey_version"])
        return "redis", parse_version(info["redis_version"])
    except (KeyError, ValueError) as strange:
        raise ProbeFailed(f"INFO: no version that can be read ({strange})") from strange


def _config_names(reply: Any) -> frozenset[str]:
    if not isinstance(reply, list):
        raise ProbeFailed("CONFIG GET: the answer is not a list")
    names = {_text(name).lower() for name in reply[::2]}
    if "slaveof" in names:
        names.add("replicaof")  # 6.2 lists this one pair under the old name only, and takes both
    return frozenset(names)


def _command_names(reply: Any) -> frozenset[str]:
    """COMMAND, which every version has; from 7.0 on an entry's tenth item lists its subcommands."""
    if not isinstance(reply, list) or not all(isinstance(entry, list) and entry for entry in reply):
        raise ProbeFailed("COMMAND: the answer is not a list of commands")
    names = {_text(entry[0]).upper() for entry in reply}
    names |= {_text(sub[0]).upper() for entry in reply if len(entry) > 9 for sub in entry[9]}
    return frozenset(names)


def _text(word: Any) -> str:
    return word.decode("ascii", "replace") if isinstance(word, bytes) else str(word)


def _rdb_version(snapshot: Path) -> int:
    """The dialect in the nine bytes of magic: REDIS0011, VALKEY080."""
    try:
        with snapshot.open("rb") as file:
            magic = file.read(9).decode("ascii")
        return int(magic.removeprefix("REDIS").removeprefix("VALKEY"))
    except (OSError, ValueError) as strange:
        raise ProbeFailed(f"SAVE wrote no snapshot that can be read ({strange})") from strange


def _serves_tls(door: _Door, folder: Path, deadline: float) -> bool:
    """Whether a client gets its PONG through TLS. A build without TLS may take every tls-* directive."""
    certificate, key = _throw_away_certificate()
    for name, content in (("tls.crt", certificate), ("tls.key", key)):
        (folder / name).write_bytes(content)
    files = {"tls-cert-file": "tls.crt", "tls-key-file": "tls.key", "tls-ca-cert-file": "tls.crt"}
    try:
        for directive, name in files.items():
            door.ask("CONFIG", "SET", directive, str(folder / name))
        door.ask("CONFIG", "SET", "tls-auth-clients", "no")
    except ProbeFailed:
        return False
    for _ in range(3):  # the port was free a moment ago; another program may have been quicker
        address = _free_address()
        try:
            door.ask("CONFIG", "SET", "tls-port", str(address[1]))
        except ProbeFailed:
            continue
        if _pong_over_tls(address, certificate.decode(), deadline):
            return True
    return False


def _free_address() -> tuple[str, int]:
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with contextlib.suppress(OSError), socket.socket(family) as holder:
            holder.bind((host, 0))
            return host, int(holder.getsockname()[1])
    raise ProbeFailed("no loopback address to try TLS on: bring the interface lo up")


def _pong_over_tls(address: tuple[str, int], certificate: str, deadline: float) -> bool:
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.load_verify_locations(cadata=certificate)
    left_s = max(0.1, min(2.0, deadline - time.monotonic()))
    try:
        with (
            socket.create_connection(address, timeout=left_s) as plain,
            trust.wrap_socket(plain, server_hostname="localhost") as link,
        ):
            link.sendall(b"PING\r\n")
            return link.recv(16).startswith(b"+PONG")
    except OSError:  # ssl.SSLError is one
        return False


def _throw_away_certificate() -> tuple[bytes, bytes]:
    """A self-signed certificate for localhost, good for an hour, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
