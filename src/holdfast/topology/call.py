"""One command to a cache, sent to the node that its keys belong to; redirections are followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from holdfast.codec.crc import key_slot
from holdfast.engine.connection import CommandRefused, Credentials, EngineNode, Reply
from holdfast.errors import HoldfastError
from holdfast.topology.observe import Access, observe
from holdfast.topology.record import CacheRecord, Member
from holdfast.topology.seen import Role, SeenCache

REDIRECTS = 5


@dataclass(eq=False)
class NoNodeFor(HoldfastError):
    """No node can take the command."""

    cache: str
    why: str

    def __str__(self) -> str:
        return f"no node of {self.cache} can take this: {self.why}; nothing was sent"


@dataclass(frozen=True)
class Answer:
    """A reply and the node that gave it."""

    node: str
    reply: Reply


async def call(
    record: CacheRecord, access: Access, who: Credentials, words: Sequence[str], node: str = ""
) -> Answer:
    """Send one command as `who`.

    Args: `access`, Holdfast's own way in, used to find the right node; `node`, a node's name to send it there
        whatever its keys are.
    Raises: NoNodeFor, CommandRefused, NodeDenied and other errors of the connection.
    """
    if node:
        try:
            member = record.member(node)
        except KeyError:
            known = ", ".join(each.name for each in record.members)
            raise NoNodeFor(record.name, f"there is no node {node}, there are {known}") from None
    else:
        member = await _owner(record, access, words)
    asking = False
    for _ in range(REDIRECTS):
        async with await EngineNode.connect(
            replace(access.endpoint(member), credentials=who), timeout_s=access.timeout_s
        ) as connection:
            try:
                if asking:
                    await connection.ask("ASKING")
                return Answer(member.name, await connection.ask(*words))
            except CommandRefused as refused:
                if node or refused.code not in {"MOVED", "ASK"}:
                    raise
                asking = refused.code == "ASK"
                member = _by_address(record, refused.words.split(" ")[-1])
    raise NoNodeFor(record.name, f"it was redirected {REDIRECTS} times: slots are being moved")


async def _owner(record: CacheRecord, access: Access, words: Sequence[str]) -> Member:
    seen = await observe(record, access)
    up = [each for each in seen.servers if each.is_up]
    primaries = [each for each in up if each.role is Role.PRIMARY]
    if not up:
        raise NoNodeFor(record.name, "none answers")
    if record.mode != "cluster":
        if not primaries:
            raise NoNodeFor(record.name, "none says that it is the primary")
        return record.member(primaries[0].name)
    keys = await _keys(record.member(up[0].name), access, words)
    slots = {key_slot(key.encode(errors="surrogateescape")) for key in keys}
    if len(slots) > 1:
        raise NoNodeFor(
            record.name,
            f"its {len(keys)} keys lie in {len(slots)} slots; give them a common {{tag}} or ask one by one",
        )
    if not slots:
        return record.member((primaries or up)[0].name)
    return record.member(_owner_of(seen, slots.pop(), record.name))


def _owner_of(seen: SeenCache, slot: int, cache: str) -> str:
    for each in seen.servers:
        if slot in each.slots and each.is_up:
            return each.name
    raise NoNodeFor(cache, f"slot {slot} is served by nobody; see holdfast status")


async def _keys(member: Member, access: Access, words: Sequence[str]) -> list[str]:
    """The keys among the words, as the engine itself finds them; none for commands without keys."""
    async with await EngineNode.connect(access.endpoint(member), timeout_s=access.timeout_s) as connection:
        (found,) = await connection.ask_all([("COMMAND", "GETKEYS", *words)])
    return [str(key) for key in found] if isinstance(found, list) else []


def _by_address(record: CacheRecord, address: str) -> Member:
    host, _, port = address.rpartition(":")
    for member in record.servers:
        if (member.address, str(member.port)) == (host.strip("[]"), port):
            return member
    raise NoNodeFor(record.name, f"it was redirected to {address}, which is no node of it")
