"""The supervisor process: one for each state folder, alone in its process, until it is told to end."""

from __future__ import annotations

import asyncio
import os
import socket
import sys

import uvicorn

from holdfast.errors import HoldfastError
from holdfast.state import Busy, StateFolder, only_one, socket_address
from holdfast.supervisor.keeper import Keeper
from holdfast.supervisor.launch import SOCKET
from holdfast.supervisor.listening import Listeners
from holdfast.supervisor.protocol import IDLE_KEPT_S
from holdfast.supervisor.server import application


async def serve(state: StateFolder, host: str) -> None:
    """Serve on the state folder's socket until SIGTERM, SIGINT or a request to leave. Nodes run on."""
    keeper = Keeper(state, os.environ, host, os.getpid())
    path = state.supervisor / SOCKET
    path.unlink(missing_ok=True)  # left over: the lock says that nobody serves on it
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with socket_address(path) as address:
        listener.bind(address)  # 0600 by the process's umask
    await keeper.begin()
    app = application(keeper, leave=lambda: setattr(server, "should_exit", True))
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_keep_alive=IDLE_KEPT_S,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    others = Listeners(state, app, keeper.events)
    await others.begin()
    try:
        await server.serve(sockets=[listener])
    finally:
        path.unlink(missing_ok=True)
        await others.end()
        await keeper.end()


def main() -> None:
    """Run the supervisor of $HOLDFAST_STATE; an end at once, without a word, when another one has it."""
    os.umask(0o077)
    host = os.environ.get("HOLDFAST_HOST", "local")
    try:
        state = StateFolder.open()
        with only_one(state.supervisor / "lock", "the supervisor"):
            asyncio.run(serve(state, host))
    except Busy:
        sys.exit(0)
    except HoldfastError as failed:
        sys.exit(f"holdfast supervisor: {failed}")
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
