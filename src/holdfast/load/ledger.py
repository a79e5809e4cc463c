"""Patient clients in a process of their own: `python -m holdfast.load.ledger`, a job on stdin, accounts on stdout.

Each client writes to one shard and appends ids of its own to one list. A write that fails is tried again at once, on the
shard's next node, with the same id, as applications do: so a gap is the longest time between two acknowledged writes
of one client, a lost id was acknowledged and is not there, and a doubled one was done twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from holdfast.engine.connection import CommandRefused, Credentials, Endpoint, EngineNode, TlsTrust
from holdfast.errors import HoldfastError

LONGEST_RUN_S = 300.0
TRY_AGAIN_S = 0.002
WAIT_BOUND_MS = 400


@dataclass(frozen=True)
class Client:
    """One client and its list."""

    key: str
    shard: str
    """Name of the shard: that of its primary before anything happened."""
    nodes: tuple[int, ...]
    """Indexes of the shard's nodes, its primary first."""
    wait: int = 0
    """Replicas that must have a write before the client takes it for acknowledged (WAIT)."""


@dataclass(frozen=True)
class LedgerJob:
    """What the process is told."""

    places: tuple[tuple[str, int], ...]
    clients: tuple[Client, ...]
    user: str
    password: str = field(repr=False)
    ca_file: str = ""
    pause_s: float = 0.004
    timeout_s: float = 0.5

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        clients = tuple(Client(**{**each, "nodes": tuple(each["nodes"])}) for each in value["clients"])
        places = tuple((host, port) for host, port in value["places"])
        return cls(**{**value, "clients": clients, "places": places})


@dataclass
class Account:
    """What one client knows."""

    key: str
    shard: str
    wait: int
    acknowledged: list[int] = field(default_factory=list)
    at_s: list[float] = field(default_factory=list)
    """When each was acknowledged: the machine's monotonic clock, which all processes share."""
    unsure: list[int] = field(default_factory=list)
    """Ids that were sent and never acknowledged."""
    errors: dict[str, int] = field(default_factory=dict)
    first_error_s: float | None = None

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(**value)


async def write(job: LedgerJob, client: Client, stop: asyncio.Event) -> Account:
    """One client, until it is stopped."""
    account = Account(client.key, client.shard, client.wait)
    node: EngineNode | None = None
    at = number = 0
    again = False
    try:
        while not stop.is_set():
            number += not again
            try:
                if node is None:
                    node = await _connect(job, client.nodes[at % len(client.nodes)])
                acknowledged = await _append(node, client, number)
            except HoldfastError as failed:
                again = True
                word = failed.code if isinstance(failed, CommandRefused) else type(failed).__name__
                account.errors[word] = account.errors.get(word, 0) + 1
                account.first_error_s = account.first_error_s or time.monotonic()
                at += 1
                if node is not None:
                    await node.close()
                node = None
                await asyncio.sleep(TRY_AGAIN_S)
                continue
            again = False
            if acknowledged:
                account.acknowledged.append(number)
                account.at_s.append(round(time.monotonic(), 5))
            else:
                account.unsure.append(number)
            await asyncio.sleep(job.pause_s)
    finally:
        if node is not None:
            await node.close()
    if again:
        account.unsure.append(number)
    return account


async def _append(node: EngineNode, client: Client, number: int) -> bool:
    if not client.wait:
        await node.ask("RPUSH", client.key, number)
        return True
    pushed, reached = await node.ask_all(
        [("RPUSH", client.key, number), ("WAIT", client.wait, WAIT_BOUND_MS)],
        timeout_s=WAIT_BOUND_MS / 1000 + 0.5,
    )
    if isinstance(pushed, HoldfastError):
        raise pushed
    return isinstance(reached, int) and reached >= client.wait


async def _connect(job: LedgerJob, place: int) -> EngineNode:
    host, port = job.places[place]
    trust = TlsTrust(job.ca_file) if job.ca_file else None
    endpoint = Endpoint(host, port, Credentials(job.user, job.password), trust)
    return await EngineNode.connect(endpoint, timeout_s=job.timeout_s)


async def serve(job: LedgerJob, reader: asyncio.StreamReader) -> None:
    """Write until a line comes on stdin, or it ends."""
    stop = asyncio.Event()
    tasks = [asyncio.create_task(write(job, client, stop)) for client in job.clients]
    print(json.dumps({"ready": True}), flush=True)  # noqa: T201 - the protocol
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(reader.readline(), LONGEST_RUN_S)
    stop.set()
    accounts = await asyncio.gather(*tasks)
    print(json.dumps({"accounts": [asdict(account) for account in accounts]}), flush=True)  # noqa: T201


async def _main() -> None:
    reader = asyncio.StreamReader(limit=16 << 20)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    job = LedgerJob.from_json(json.loads(await reader.readline()))
    await serve(job, reader)


if __name__ == "__main__":
    asyncio.run(_main())
