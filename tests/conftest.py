"""What all tests share."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Everything here runs on asyncio, also where trio is installed beside it (`make peers` brings it)."""
    return "asyncio"
