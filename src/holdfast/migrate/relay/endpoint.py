"""The relay as a source that others migrate from: a managed service's own online migration is told this address.

Such a service asks a source what it is before it replicates. It is answered with the source's own answers, in the version of
the dialect that the relay speaks, by a short list of commands that only read; everything else is refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from holdfast.engine.connection import CommandRefused, Endpoint, EngineNode, Reply
from holdfast.errors import HoldfastError

ASKED_MAX_WORDS = 64
_READING = frozenset(
    {
        "CLIENT", "CLUSTER", "COMMAND", "CONFIG", "DBSIZE", "DUMP", "ECHO", "EXISTS", "GET", "HELLO", "INFO", "LASTSAVE",
        "LATENCY", "MEMORY", "MODULE", "OBJECT", "PTTL", "ROLE", "SCAN", "SELECT", "STRLEN", "TIME", "TTL", "TYPE",
    }
)  # fmt: skip
_SUBCOMMANDS = {
    "CLIENT": frozenset({"SETNAME", "SETINFO", "GETNAME", "ID"}),
    "CLUSTER": frozenset({"INFO", "NODES", "SLOTS", "SHARDS", "MYID", "KEYSLOT"}),
    "CONFIG": frozenset({"GET"}),
    "MODULE": frozenset({"LIST"}),
    "MEMORY": frozenset({"USAGE"}),
    "OBJECT": frozenset({"ENCODING", "FREQ", "IDLETIME"}),
    "LATENCY": frozenset({"LATEST"}),
}
_SECRET = ("requirepass", "masterauth", "primaryauth", "tls-key-file-pass", "tls-client-key-file-pass")


@dataclass(frozen=True)
class Shown:
    """What the relay says it is."""

    engine: str
    version: str
    port: int


class SourceAnswers:
    """Answers a service's questions for a source; one connection of ours to the source serves all of them."""

    def __init__(self, find_source: Callable[[], Awaitable[Endpoint]], shown: Shown) -> None:
        self._find_source = find_source
        self._shown = shown
        self._node: EngineNode | None = None

    async def answer(self, words: list[bytes]) -> bytes:
        """RESP2 for one command."""
        text = [word.decode("utf-8", "surrogateescape") for word in words]
        name = text[0].upper()
        sub = text[1].upper() if len(text) > 1 else ""
        if name == "HELLO":
            return b"-NOPROTO this relay speaks RESP2\r\n" if sub not in {"", "2"} else self._hello()
        if name == "CLIENT" and sub in {"SETNAME", "SETINFO"}:
            return b"+OK\r\n"
        if name == "SELECT":
            return b"+OK\r\n" if sub == "0" else b"-ERR only database 0 is shown here\r\n"
        allowed = name in _READING and (name not in _SUBCOMMANDS or sub in _SUBCOMMANDS[name])
        if not allowed or len(text) > ASKED_MAX_WORDS:
            return b"-READONLY You can't write against a read only relay, nor change it.\r\n"
        try:
            return encode(self._told(name, await self._ask(text)))
        except CommandRefused as refused:
            return f"-{refused.words}\r\n".encode("utf-8", "surrogateescape")
        except HoldfastError as gone:
            return f"-MASTERDOWN {gone}\r\n".encode()

    async def close(self) -> None:
        """Close the connection to the source."""
        if self._node is not None:
            await self._node.close()
            self._node = None

    async def _ask(self, words: list[str]) -> Reply:
        for attempt in (1, 2):
            if self._node is None:
                self._node = await EngineNode.connect(await self._find_source())
            try:
                return await self._node.ask(*words)
            except CommandRefused:
                raise
            except HoldfastError:
                await self.close()
                if attempt == 2:
                    raise
        raise AssertionError("unreachable")

    def _told(self, name: str, reply: Reply) -> Reply:
        """The source's answer as one of ours: our version and port, and none of its secrets."""
        if name == "INFO" and isinstance(reply, str):
            lines = [self._info_line(line) for line in reply.splitlines()]
            own = f"{self._shown.engine}_version:"
            at = next((place for place, line in enumerate(lines) if line.startswith("redis_version:")), -1)
            if at >= 0 and not any(line.startswith(own) for line in lines):
                lines.insert(at + 1, own + self._shown.version)
            return "\r\n".join(lines) + "\r\n"
        if name == "CONFIG" and isinstance(reply, dict):
            return {each: "" if each in _SECRET else value for each, value in reply.items()}
        return reply

    def _info_line(self, line: str) -> str:
        name, colon, _ = line.partition(":")
        if not colon:
            return line
        if name in {"redis_version", "valkey_version"}:
            return f"{name}:{self._shown.version if name == f'{self._shown.engine}_version' else COMPATIBLE}"
        if name in {"tcp_port", "server_port"}:
            return f"{name}:{self._shown.port}"
        if name in {"config_file", "executable"}:
            return f"{name}:"
        return line

    def _hello(self) -> bytes:
        facts = [
            "server",
            self._shown.engine,
            "version",
            self._shown.version,
            "proto",
            2,
            "mode",
            "standalone",
            "role",
            "master",
        ]
        return encode(facts)


COMPATIBLE = "7.2.4"
"""The Redis version that Valkey names beside its own."""


def encode(reply: Reply) -> bytes:
    """A reply as RESP2; maps as flat lists, sets as lists."""
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, bool | int):
        return b":%d\r\n" % reply
    if isinstance(reply, dict):
        return encode([part for pair in reply.items() for part in pair])
    if isinstance(reply, list | tuple | set | frozenset):
        return b"*%d\r\n" % len(reply) + b"".join(encode(each) for each in reply)
    data = reply if isinstance(reply, bytes) else str(reply).encode("utf-8", "surrogateescape")
    return b"$%d\r\n%b\r\n" % (len(data), data)
