"""Servers that are not there: told in the system's own words, the address once."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from holdfast.engine.connection import Endpoint, EngineNode, NodeGone
from holdfast.engine.pipeline import Pipeline
from holdfast.supervisor.client import SupervisorClient
from holdfast.supervisor.protocol import HostUnreachable


@pytest.fixture
def closed_port() -> int:
    """Nobody listens there: it was free a moment ago."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.mark.parametrize("kind", [EngineNode, Pipeline])
def test_a_refused_connection(kind: type[EngineNode] | type[Pipeline], closed_port: int) -> None:
    with pytest.raises(NodeGone) as gone:
        asyncio.run(kind.connect(Endpoint("127.0.0.1", closed_port), timeout_s=5.0))
    assert str(gone.value) == f"127.0.0.1:{closed_port} cannot be reached: Connection refused"


@pytest.mark.parametrize("kind", [EngineNode, Pipeline])
def test_a_socket_that_is_not_there(kind: type[EngineNode] | type[Pipeline], tmp_path: Path) -> None:
    path = str(tmp_path / "none")
    with pytest.raises(NodeGone) as gone:
        asyncio.run(kind.connect(Endpoint("", 0, socket=path), timeout_s=5.0))
    assert str(gone.value) == f"{path} cannot be reached: No such file or directory"


def test_a_supervisor_that_is_not_there(tmp_path: Path) -> None:
    async def asked() -> None:
        async with SupervisorClient("local", tmp_path / "socket") as client:
            await client.facts()

    with pytest.raises(HostUnreachable, match=r"does not answer: No such file or directory$"):
        asyncio.run(asked())
