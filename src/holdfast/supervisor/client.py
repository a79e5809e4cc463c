"""Speaks to one machine's supervisor: HTTP and JSON over its Unix socket, or over mutual TLS."""

from __future__ import annotations

import contextlib
import json
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpcore  # without httpx on top, whose import takes as long as a whole look at a cache

from holdfast.engine.build import BrokenEngine, EngineBuild
from holdfast.engine.connection import system_words
from holdfast.host.firewall import Enforcement
from holdfast.host.nftables import FirewallRequest
from holdfast.state import socket_address
from holdfast.supervisor import protocol
from holdfast.supervisor.protocol import API, START_BOUND_S, STOP_BOUND_S, HostRefused, HostUnreachable
from holdfast.topology.hosts import HostFacts, NodeOrder, WatchOrder
from holdfast.topology.seen import SeenProcess

ASK_BOUND_S = 30.0
LOOK_BOUND_S = 5.0
"""For what it only has to look up: one that needs longer hangs, and somebody is waiting for a status."""
IDLE_S = 5.0
"""An unused connection is closed after that long."""
BAD_REQUEST = 400
_FAILED = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol)


class SupervisorClient:
    """One machine, reached through its supervisor (a `topology.hosts.NodeHost`)."""

    def __init__(self, name: str, socket: Path | str, trust: ssl.SSLContext | None = None) -> None:
        """Args: `socket`, its Unix socket, or its URL with `trust` for how to connect there."""
        self._name = name
        self._socket = socket
        self._trust = trust
        self._open = contextlib.ExitStack()
        self._http: httpcore.AsyncConnectionPool | None = None

    @property
    def name(self) -> str:
        return self._name

    async def __aenter__(self) -> Self:
        if self._trust is not None:
            self._http = httpcore.AsyncConnectionPool(ssl_context=self._trust, keepalive_expiry=IDLE_S)
            return self
        try:
            path = self._open.enter_context(socket_address(Path(self._socket)))
        except OSError as failed:
            raise HostUnreachable(self._name, str(self._socket), failed.strerror or str(failed)) from failed
        self._http = httpcore.AsyncConnectionPool(uds=path, keepalive_expiry=IDLE_S)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, failed: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http is not None:
            await self._http.aclose()
        self._open.close()

    async def facts(self) -> HostFacts:
        return protocol.facts_from_json(await self._ask("GET", "/host", bound_s=LOOK_BOUND_S))

    async def engines(self, path: str | None) -> tuple[Sequence[EngineBuild], Sequence[BrokenEngine]]:
        answer = await self._ask("POST", "/engines", {"path": path}, bound_s=120.0)
        found = tuple(EngineBuild.from_json(each) for each in answer["found"])
        return found, tuple(BrokenEngine(**each) for each in answer["broken"])

    async def free_ports(
        self, addresses: Sequence[str], count: int, first: int | None, cluster: bool
    ) -> tuple[int, ...]:
        wish = {"addresses": list(addresses), "count": count, "first": first, "cluster": cluster}
        return tuple((await self._ask("POST", "/ports", wish))["ports"])

    async def prepare(self, order: NodeOrder) -> None:
        await self._ask("PUT", f"/nodes/{order.cache}/{order.node}", protocol.order_to_json(order))

    async def read(self, cache: str, node: str, file: str) -> str:
        return str((await self._ask("GET", f"/nodes/{cache}/{node}/files/{file}"))["text"])

    async def start(self, cache: str, node: str) -> str:
        answer = await self._ask("POST", f"/nodes/{cache}/{node}/start", bound_s=START_BOUND_S)
        return str(answer.get("left_out", ""))

    async def stop(self, cache: str, node: str) -> None:
        await self._ask("POST", f"/nodes/{cache}/{node}/stop", bound_s=STOP_BOUND_S)

    async def remove(self, cache: str, node: str) -> None:
        await self._ask("DELETE", f"/nodes/{cache}/{node}")

    async def processes(self, cache: str) -> Mapping[str, SeenProcess]:
        answer = await self._ask("GET", f"/nodes/{cache}", bound_s=LOOK_BOUND_S)
        return {name: protocol.process_from_json(each) for name, each in answer["nodes"].items()}

    async def nodes(self) -> Mapping[str, Mapping[str, SeenProcess]]:
        """All nodes of the machine: cache -> node -> process."""
        answer = await self._ask("GET", "/nodes", bound_s=LOOK_BOUND_S)
        return {
            cache: {name: protocol.process_from_json(each) for name, each in nodes.items()}
            for cache, nodes in answer["caches"].items()
        }

    async def ask(self, cache: str, node: str, words: Sequence[str]) -> object:
        return (await self._ask("POST", f"/nodes/{cache}/{node}/ask", {"words": list(words)}))["reply"]

    async def log(self, cache: str, node: str, lines: int) -> tuple[str, ...]:
        return tuple((await self._ask("GET", f"/nodes/{cache}/{node}/log?lines={lines}"))["lines"])

    async def watch(self, order: WatchOrder) -> None:
        await self._ask("PUT", f"/watches/{order.cache}", protocol.watch_to_json(order))

    async def unwatch(self, cache: str) -> None:
        await self._ask("DELETE", f"/watches/{cache}")

    async def events(self, cache: str, last: int) -> list[dict[str, Any]]:
        return list((await self._ask("GET", f"/events/{cache}?last={last}"))["events"])

    async def note(self, cache: str, kind: str, node: str, facts: Mapping[str, object]) -> None:
        await self._ask("POST", f"/events/{cache}", {"kind": kind, "node": node, "facts": dict(facts)})

    async def put_aside(self, cache: str, node: str, label: str) -> str:
        return str((await self._ask("POST", f"/nodes/{cache}/{node}/aside", {"label": label}))["folder"])

    async def drop_snapshot(self, cache: str, node: str) -> None:
        await self._ask("DELETE", f"/nodes/{cache}/{node}/snapshot")

    async def guard(self, request: FirewallRequest) -> Enforcement:
        answer = await self._ask("PUT", f"/guards/{request.cache}", protocol.request_to_json(request))
        return protocol.enforcement_from_json(answer)

    async def guarded(self, request: FirewallRequest) -> Enforcement:
        answer = await self._ask(
            "POST", f"/guards/{request.cache}/look", protocol.request_to_json(request), bound_s=LOOK_BOUND_S
        )
        return protocol.enforcement_from_json(answer)

    async def unguard(self, cache: str) -> None:
        await self._ask("DELETE", f"/guards/{cache}")

    async def leave(self) -> None:
        """Ask the supervisor process to end; nodes go on running."""
        await self._ask("POST", "/leave")

    async def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, bound_s: float = ASK_BOUND_S
    ) -> Any:
        if self._http is None:
            raise RuntimeError("used outside `async with`")
        base = "http://supervisor" if self._trust is None else str(self._socket).rstrip("/")
        try:
            answer = await self._http.request(
                method,
                base + API + path,
                headers={"Host": "supervisor", "Content-Type": "application/json"},
                content=None if body is None else json.dumps(body).encode(),
                extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), bound_s)},
            )
        except httpcore.TimeoutException as late:
            raise HostUnreachable(
                self._name, str(self._socket), f"no answer to {method} {path} in {bound_s:g} s"
            ) from late
        except _FAILED as failed:
            words = system_words(failed) or str(failed) or type(failed).__name__
            raise HostUnreachable(self._name, str(self._socket), words) from failed
        try:
            told = json.loads(answer.content)
        except ValueError:
            raise HostRefused(
                self._name,
                f"the supervisor at {self._socket} does not know {method} {path}: it is of another version; end it with "
                "`holdfast supervisor stop` (its nodes run on), the next command starts this one",
                "OtherVersion",
            ) from None
        if answer.status >= BAD_REQUEST:
            raise HostRefused(self._name, str(told.get("error", told)), str(told.get("code", "")))
        return told
