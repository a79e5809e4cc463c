"""Runs the ledger's clients beside whatever is done to a cache, and says what they saw of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

from holdfast.codec.crc import key_slot
from holdfast.engine.connection import EngineNode
from holdfast.load.ledger import Account, Client, LedgerJob
from holdfast.load.run import LONGEST_LINE, LoadFailed
from holdfast.load.workload import MARK
from holdfast.topology.observe import Access
from holdfast.topology.record import CacheRecord
from holdfast.topology.seen import Role, SeenCache, SeenShard

READY_BOUND_S = 20.0
END_BOUND_S = 30.0
BUCKET_S = 0.02
"""Of the line that is drawn."""
STILL_S = 0.5
"""A client without an acknowledged write for so long at the end is still waiting; they write every few milliseconds."""


@dataclass(frozen=True)
class Seen:
    """What one group of clients saw: those of one shard with one kind of acknowledgement."""

    shard: str
    wait: int
    acknowledged: int
    lost: int
    doubled: int
    gap_ms: float
    """Longest time between two acknowledged writes of any of its clients."""
    gap_at_s: float
    """When that began, counted from the beginning."""
    lost_span_s: float
    """From the oldest lost write to the youngest acknowledged before the gap; 0 when none is lost."""
    waiting: int = 0
    """Clients that had no write acknowledged any more when it ended: how long they would have waited is not known."""
    errors: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Ledger:
    """All of it."""

    groups: tuple[Seen, ...]
    bucket_s: float
    acks: dict[str, list[int]]
    """Shard -> acknowledged writes in each bucket since the beginning."""
    began_s: float
    """Monotonic."""

    @property
    def acknowledged(self) -> int:
        return sum(group.acknowledged for group in self.groups)

    def lost(self, *, wait: bool) -> int:
        """Acknowledged writes that are gone, of the clients that waited for a replica or of the others."""
        return sum(group.lost for group in self.groups if bool(group.wait) is wait)


@dataclass
class Patience:
    """The clients while they write, and their accounts afterwards."""

    shards: tuple[SeenShard, ...]
    clients: tuple[Client, ...]
    began_s: float
    accounts: tuple[Account, ...] = ()
    ended_s: float = 0.0
    """When they were told to stop, monotonic; 0 before that."""


@asynccontextmanager
async def patient_clients(
    record: CacheRecord,
    access: Access,
    seen: SeenCache,
    run: str,
    *,
    each: int = 2,
    waits: Sequence[int] = (0, 1),
) -> AsyncIterator[Patience]:
    """Clients that write for the length of the block: `each` for every shard and kind of acknowledgement.

    Raises: LoadFailed.
    """
    places = {member.name: index for index, member in enumerate(record.servers)}
    clients = tuple(
        Client(key, shard.primary.name, _nodes(shard, places), wait)
        for shard in seen.shards
        for wait in waits
        if wait <= len(shard.replicas)
        for key in _keys(shard, run, wait, each)
    )
    job = LedgerJob(
        places=tuple((member.address, member.port) for member in record.servers),
        clients=clients,
        user=access.credentials.user,
        password=access.credentials.password,
        ca_file=access.tls.ca_file if access.tls else "",
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "holdfast.load.ledger",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        limit=LONGEST_LINE, start_new_session=True,
    )  # fmt: skip
    patience = Patience(seen.shards, clients, time.monotonic())
    try:
        await _say(process, json.dumps(job.to_json()))
        await _hear(record.name, process, READY_BOUND_S)
        patience.began_s = time.monotonic()
        yield patience
        patience.ended_s = time.monotonic()
        await _say(process, "stop")
        told = await _hear(record.name, process, END_BOUND_S)
        patience.accounts = tuple(Account.from_json(each) for each in told["accounts"])
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.kill()
            await process.wait()


def _nodes(shard: SeenShard, places: dict[str, int]) -> tuple[int, ...]:
    return tuple(places[node.name] for node in (shard.primary, *shard.replicas))


def _keys(shard: SeenShard, run: str, wait: int, count: int) -> list[str]:
    """Lists of that shard, each its client's own."""
    found: list[str] = []
    number = 0
    while len(found) < count:
        key = f"holdfast:{MARK}-{run}:{wait}-{shard.primary.name}-{number}"
        if not shard.primary.slots or key_slot(key.encode()) in shard.primary.slots:
            found.append(key)
        number += 1
    return found


async def settle_accounts(
    patience: Patience, record: CacheRecord, access: Access, seen: SeenCache, *, since_s: float = 0.0
) -> Ledger:
    """Compare what was acknowledged with what is there now, on each shard's primary as it is seen now; then remove it.

    Args: `since_s`, monotonic: only gaps that end after it count, for what is before has another cause.
    Raises: LoadFailed where a shard has no primary that answers: what is lost could not be said.
    """
    there: dict[str, list[int]] = {}
    for account in patience.accounts:
        owner = _owner(account.key, seen, record.name)
        async with await EngineNode.connect(access.endpoint(record.member(owner)), timeout_s=5.0) as node:
            there[account.key] = [int(each) for each in await node.ask("LRANGE", account.key, 0, -1)]
            await node.ask("UNLINK", account.key)
    return account_for(patience.accounts, there, patience.began_s, since_s, patience.ended_s)


def _owner(key: str, seen: SeenCache, cache: str) -> str:
    slot = key_slot(key.encode())
    for node in seen.servers:
        if node.is_up and node.role is Role.PRIMARY and (slot in node.slots or not node.node_id):
            return node.name
    raise LoadFailed(cache, f"no primary answers for slot {slot}, so what it has lost cannot be said")


def account_for(
    accounts: Iterable[Account],
    there: dict[str, list[int]],
    began_s: float,
    since_s: float = 0.0,
    until_s: float = 0.0,
) -> Ledger:
    """The ledger: by shard and kind of acknowledgement. Pure.

    Args: `until_s`, monotonic, when the clients were told to stop: a wait that was not over then counts up to it.
    """
    groups: dict[tuple[str, int], list[Account]] = {}
    for account in accounts:
        groups.setdefault((account.shard, account.wait), []).append(account)
    seen = tuple(
        _seen(shard, wait, members, there, _Span(began_s, since_s, until_s))
        for (shard, wait), members in sorted(groups.items())
    )
    everything = [at_s for members in groups.values() for account in members for at_s in account.at_s]
    length = int((max(everything, default=began_s) - began_s) / BUCKET_S) + 1
    acks: dict[str, list[int]] = {}
    for (shard, _), members in groups.items():
        line = acks.setdefault(shard, [0] * length)
        for account in members:
            for at_s in account.at_s:
                line[max(0, int((at_s - began_s) / BUCKET_S))] += 1
    return Ledger(seen, BUCKET_S, acks, began_s)


@dataclass(frozen=True)
class _Span:
    """From when and until when gaps count, monotonic."""

    began_s: float
    since_s: float
    until_s: float


def _seen(shard: str, wait: int, members: list[Account], there: dict[str, list[int]], span: _Span) -> Seen:
    lost = doubled = waiting = 0
    gap_s, gap_at_s, span_s = 0.0, 0.0, 0.0
    errors: Counter[str] = Counter()
    for account in members:
        kept = Counter(there.get(account.key, ()))
        gone = [at for at, one in enumerate(account.acknowledged) if one not in kept]
        lost += len(gone)
        doubled += sum(times - 1 for times in kept.values())
        errors.update(account.errors)
        moments = account.at_s
        if span.until_s:
            last_s = moments[-1] if moments else span.began_s
            moments = [*(moments or [span.began_s]), max(last_s, span.until_s)]
            waiting += span.until_s - last_s >= STILL_S
        for before_s, after_s in pairwise(moments):
            if after_s >= span.since_s and after_s - before_s > gap_s:
                gap_s, gap_at_s = after_s - before_s, before_s - span.began_s
        if gone:
            youngest_s = account.at_s[gone[-1]]
            span_s = max(span_s, youngest_s - account.at_s[gone[0]])
    return Seen(
        shard=shard,
        wait=wait,
        acknowledged=sum(len(account.acknowledged) for account in members),
        lost=lost,
        doubled=doubled,
        gap_ms=round(gap_s * 1000, 1),
        gap_at_s=round(gap_at_s, 3),
        lost_span_s=round(span_s, 3),
        waiting=waiting,
        errors=dict(errors),
    )


async def _say(process: asyncio.subprocess.Process, line: str) -> None:
    if process.stdin is not None:
        with contextlib.suppress(ConnectionError):
            process.stdin.write(line.encode() + b"\n")
            await process.stdin.drain()


async def _hear(
    cache: str, process: asyncio.subprocess.Process, bound_s: float
) -> dict[str, list[dict[str, object]]]:
    if process.stdout is None:
        raise LoadFailed(cache, "the clients' process has no output")
    try:
        line = await asyncio.wait_for(process.stdout.readline(), bound_s)
    except TimeoutError:
        raise LoadFailed(cache, f"the clients said nothing for {bound_s:g} s") from None
    if not line:
        said = (await process.stderr.read()).decode(errors="replace").strip() if process.stderr else ""
        raise LoadFailed(cache, f"the clients ended: {said.splitlines()[-1] if said else 'without a word'}")
    return dict(json.loads(line))
