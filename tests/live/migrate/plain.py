"""Servers as other people run them: a configuration file, a port, perhaps a password and TLS; nothing of Holdfast's."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from tests.live.ports import LOOPBACK, free_port

from holdfast.engine.build import EngineBuild
from holdfast.engine.facts import TlsFiles


@dataclass
class Plain:
    """One server and a client of it."""

    build: EngineBuild
    folder: Path
    port: int
    settings: Sequence[str] = ()
    password: str = ""
    tls: TlsFiles | None = None
    process: subprocess.Popen[bytes] | None = None
    client: Any = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"{'rediss' if self.tls else 'redis'}://{LOOPBACK}:{self.port}"

    @property
    def config(self) -> Path:
        return self.folder / "server.conf"

    def write(self) -> None:
        lines = [
            "port 0" if self.tls else f"port {self.port}",
            f"bind {LOOPBACK}",
            f"dir {self.folder}",
            'save ""',
            "daemonize no",
            f"logfile {self.folder / 'log'}",
            "repl-diskless-sync yes",
            "repl-diskless-sync-delay 0",
        ]
        if self.tls:
            lines += [
                f"tls-port {self.port}",
                "tls-replication yes",
                f"tls-ca-cert-file {self.tls.ca}",
                f"tls-cert-file {self.tls.cert}",
                f"tls-key-file {self.tls.key}",
                "tls-auth-clients no",
            ]
        if self.password:
            lines += [f"requirepass {self.password}", f"masterauth {self.password}"]
        lines += self.settings
        self.config.write_text("\n".join(lines) + "\n")

    def start(self, bound_s: float = 15.0) -> Plain:
        self.process = subprocess.Popen(
            [*self.build.command, str(self.config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
        )
        self.client = self.connect()
        end = time.monotonic() + bound_s
        while True:
            try:
                self.client.ping()
                return self
            except redis.exceptions.RedisError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise AssertionError(self.log()) from None
                time.sleep(0.02)

    def connect(self, **more: Any) -> Any:
        words: dict[str, Any] = {"socket_timeout": 10.0, "retry": None, **more}
        if self.build.version < (6, 0, 0):
            words["protocol"] = 2
        if self.tls:
            words |= {"ssl": True, "ssl_ca_certs": self.tls.ca, "ssl_check_hostname": False}
        return redis.Redis(host=LOOPBACK, port=self.port, password=self.password or None, **words)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def info(self, section: str = "replication") -> dict[str, Any]:
        return dict(self.client.info(section))

    @property
    def offset(self) -> int:
        facts = self.info()
        return int(facts["slave_repl_offset"] if facts["role"] == "slave" else facts["master_repl_offset"])

    def log(self) -> str:
        file = self.folder / "log"
        return file.read_text(errors="replace")[-4000:] if file.exists() else "no log"


@contextlib.contextmanager
def plain(
    build: EngineBuild, *settings: str, password: str = "", tls: TlsFiles | None = None
) -> Iterator[Plain]:
    """A server in a folder of its own; killed at the end by its own pid."""
    folder = Path(tempfile.mkdtemp(prefix="hf-p-"))
    made = Plain(build, folder, free_port(), settings, password, tls)
    made.write()
    try:
        yield made.start()
    finally:
        made.kill()
        shutil.rmtree(folder, ignore_errors=True)
