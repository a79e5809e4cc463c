"""For pytest: `pytest_plugins = ["holdfast.testing.plugin"]` in the top conftest.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from holdfast.testing import PrivateServer, private_server


@pytest.fixture(scope="session")
def holdfast_session_server() -> Iterator[PrivateServer]:
    """One server for the whole run."""
    with private_server() as server:
        yield server


@pytest.fixture
def holdfast_server(holdfast_session_server: PrivateServer) -> PrivateServer:
    """The same, empty at the beginning of each test."""
    holdfast_session_server.flush()
    return holdfast_session_server
