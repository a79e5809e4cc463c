"""`holdfast migrate relay`: the relay alone, in the foreground, for a target that comes by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from holdfast.codec.rdb.dialect import Dialect
from holdfast.engine.connection import Endpoint, EngineNode, NodeGone
from holdfast.migrate.ends import End, EndUnusable, Layout
from holdfast.migrate.observe import see_end
from holdfast.migrate.relay.commands import TargetCommands, names_spoken
from holdfast.migrate.relay.endpoint import Shown, SourceAnswers
from holdfast.migrate.relay.grammar import Release, names_beyond
from holdfast.migrate.relay.relay import Relay, Settings
from holdfast.migrate.relay.serve import Door, TargetServer
from holdfast.migrate.relay.source import NO_SUCH_PORT
from holdfast.migrate.relay.spool import Spool
from holdfast.migrate.relay.terms import Full, Phase
from holdfast.migrate.relay.translation import (
    command_names,
    database_count,
    dialect_of,
    payloads_for,
    release_of,
    rewriting_for,
)
from holdfast.topology.seen import Role
from holdfast.topology.shards import read_version

TELL_EVERY_S = 2.0


@dataclass(frozen=True)
class Stand:
    """How the relay stands by itself."""

    source: End
    dialect: Dialect
    """What it speaks to whoever comes."""
    door: Door
    folder: Path
    """For the spool."""
    spool_bytes: int
    accepts_losses: bool = False


async def stand(wanted: Stand, tell: Callable[[str], None]) -> None:
    """Serve until cancelled. Raises: EndUnusable, LossNotAccepted, StreamStopped, OSError when the port is not to be had."""
    end = wanted.source
    if end.layout is Layout.CLUSTER:
        raise EndUnusable(
            end.label, "a relay follows one primary, and this is a cluster", "Use --mode write."
        )

    async def find_source() -> Endpoint:
        head = (await see_end(end)).head
        if head is None or head.role is not Role.PRIMARY:
            raise NodeGone(end.label, "it shows no one primary at the moment")
        return end.endpoint(head.address)

    first = (await see_end(end)).head
    if first is None:
        raise EndUnusable(
            end.label, "it shows no one primary", "See that it runs and can be reached from here."
        )
    async with await EngineNode.connect(end.endpoint(first.address)) as node:
        known, databases = await command_names(node), await database_count(node)
    valkey = wanted.dialect.family.value == "valkey"
    names = names_spoken(known, valkey=valkey, field_ttls=wanted.dialect.has_field_ttl)
    engine, _, release = wanted.dialect.name.partition("-")
    shown = Shown(engine, f"{release}.0" if release.count(".") == 1 else release, wanted.door.port)
    reader = Release(engine, read_version(shown.version))
    commands = TargetCommands(
        names,
        databases,
        payload=payloads_for(dialect_of(first), wanted.dialect),
        reader=reader,
        beyond=names_beyond(release_of(first), reader),
    )
    settings = Settings(
        find_source=find_source,
        commands=commands,
        rewriting=lambda: rewriting_for(wanted.dialect, databases),
        full=Full.ALLOWED,
        accepts_losses=wanted.accepts_losses,
        tell=tell,
        port=NO_SUCH_PORT if end.sentinels else None,
    )
    spool = Spool(wanted.folder, wanted.spool_bytes)
    spool.clear()
    relay = Relay(spool, settings)
    answers = SourceAnswers(find_source, shown)
    server = TargetServer(wanted.door, relay, answers.answer)
    relay.on_new_history = server.drop_fed
    port = await server.start()
    tell(f"listening on {wanted.door.host}:{port}, speaking {wanted.dialect.name}; source: {first.title}")
    telling = asyncio.create_task(_tell_always(relay, server, tell))
    try:
        await relay.run()
    finally:
        telling.cancel()
        tell(_standing(relay, server))
        await server.stop()
        await answers.close()
        spool.clear()


async def _tell_always(relay: Relay, server: TargetServer, tell: Callable[[str], None]) -> None:
    said = ""
    while True:
        words = _standing(relay, server)
        if words != said:
            tell(words)
        said = words
        await asyncio.sleep(TELL_EVERY_S)


def _standing(relay: Relay, server: TargetServer) -> str:
    counts = relay.counts
    keys = f"{counts.keys:,} keys" if relay.phase is Phase.SNAPSHOT else f"{relay.lag_bytes:,} bytes behind"
    words = f"{relay.phase.value}, {keys}, targets: {len(server.streaming)}"
    if relay.trouble:
        words += f": {relay.trouble}"
    losses = {**counts.rdb_losses, **counts.stream_losses}
    if losses:
        words += f"; lost: {'; '.join(f'{what}: {count}' for what, count in losses.items())}"
    return words
