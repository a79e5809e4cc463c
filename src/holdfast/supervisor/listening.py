"""The supervisor's faces to other machines: one listener for each cache it was invited to, mutual TLS, few rights.

The cache's controller may do with the nodes of its own cache whatever the command line may; a machine may say that it is
there and ask for a vote; nobody may end the supervisor, or see another cache.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import uvicorn
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from holdfast.state import StateFolder
from holdfast.supervisor import admission
from holdfast.supervisor.admission import CONTROLLER, Admission
from holdfast.supervisor.events import Events
from holdfast.supervisor.protocol import API, IDLE_KEPT_S

OPEN_CONNECTIONS = 200
BODY_LIMIT = 8 << 20
"""No order comes near it."""
SHARED = ("host", "engines", "ports")
"""What a controller may ask that is about the machine and not about one cache."""
OF_A_CACHE = ("nodes", "watches", "events", "guards")
OF_MACHINES = ("beats", "votes")


class _WithCaller(H11Protocol):
    """Tells the application whose certificate the connection came with."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        shown = tls.getpeercert() if tls is not None else None
        names = {str(name) for kind, name in (shown or {}).get("subjectAltName", ()) if kind == "DNS"}
        self.app_state = {**self.app_state, "caller": admission.caller_of(names)}


class _Server(uvicorn.Server):
    """One of several in a process: signals are the first one's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def may_ask(caller: str, cache: str, path: str) -> bool:
    """Whether the holder of a certificate may ask this. Args: `path`, of the request, from the API's root on."""
    parts = path.removeprefix(API).strip("/").split("/")
    if not path.startswith(API + "/") or any(part in {"", ".", ".."} for part in parts):
        return False
    if caller == CONTROLLER:
        return (len(parts) == 1 and parts[0] in SHARED) or (
            len(parts) > 1 and parts[0] in OF_A_CACHE and parts[1] == cache
        )
    return bool(caller) and len(parts) == 2 and parts[0] in OF_MACHINES and parts[1] == cache


def _guarded(app: ASGIApp, cache: str) -> ASGIApp:
    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        caller = scope.get("state", {}).get("caller", "")
        headers = dict(scope["headers"])
        length = b"none" if b"transfer-encoding" in headers else headers.get(b"content-length", b"0")
        if not may_ask(caller, cache, scope["path"]):
            who = caller or "the holder of this certificate"
            refusal = {"error": f"{who} may not ask this of a supervisor for {cache}", "code": "NotAllowed"}
            await JSONResponse(refusal, 403)(scope, receive, send)
        elif not length.isdigit() or int(length) > BODY_LIMIT:
            await JSONResponse({"error": "the request is too large", "code": "TooLarge"}, 413)(
                scope, receive, send
            )
        else:
            await app(scope, receive, send)

    return guarded


class Listeners:
    """All of them. Used inside one event loop."""

    def __init__(self, state: StateFolder, app: ASGIApp, events: Events) -> None:
        self._state = state
        self._app = app
        self._events = events
        self._running: list[tuple[uvicorn.Server, asyncio.Task[None]]] = []

    async def begin(self) -> None:
        """Listen for every cache that was admitted; one that cannot be is told and does not hinder the others."""
        for cache, admitted in admission.kept(self._state.supervisor).items():
            try:
                self._listen(admitted)
            except (OSError, ssl.SSLError) as failed:
                where = f"{admitted.address}:{admitted.port}"
                self._events.add("not listening", cache, "", {"where": where, "why": str(failed)})

    async def end(self) -> None:
        """Let open requests end, within a bound, and listen no more."""
        for server, _ in self._running:
            server.should_exit = True
        for _, task in self._running:
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await asyncio.wait_for(task, 5.0)

    def _listen(self, admitted: Admission) -> None:
        folder = self._state.supervisor / admission.FOLDER / admitted.cache
        config = uvicorn.Config(
            _guarded(self._app, admitted.cache),
            http=_WithCaller,
            log_level="error",  # who knocks without a certificate is no event of ours
            access_log=False,
            lifespan="off",
            ws="none",
            limit_concurrency=OPEN_CONNECTIONS,
            timeout_keep_alive=IDLE_KEPT_S,
            timeout_graceful_shutdown=3,
        )
        config.load()
        config.ssl = admission.server_context(folder)
        family = socket.AF_INET6 if ":" in admitted.address else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((admitted.address, admitted.port))
        except OSError:
            listener.close()
            raise
        server = _Server(config)
        self._running.append((server, asyncio.create_task(server.serve(sockets=[listener]))))
