"""Steps that change a running node's directives and users, and its files with them."""

from __future__ import annotations

from dataclasses import replace

from holdfast.engine.acl import changed_users, parse_acl, user_setrules
from holdfast.engine.facts import Address
from holdfast.topology import orders
from holdfast.topology.live import LiveCache
from holdfast.topology.observe import users_digest
from holdfast.topology.record import Kind, Member
from holdfast.topology.steps import SetConfig, SetUsers


async def set_config(cache: LiveCache, step: SetConfig) -> None:
    """CONFIG SET each, then write the file that makes it last."""
    async with await cache.connect(step.node) as node:
        for name, (_, value) in step.changes.items():
            await node.ask("CONFIG", "SET", name, value)
    await _rewrite(cache, cache.record.member(step.node))


async def set_users(cache: LiveCache, step: SetUsers) -> None:
    """Set the users that differ and delete those that are gone, then write the file.

    By ACL SETUSER and not ACL LOAD: on engines before 7.2 the latter disconnects every client.
    """
    member = cache.record.member(step.node)
    text = cache.users_text(member.kind, cache.build_of(member))
    wanted = parse_acl(text)
    before = parse_acl(await cache.hosts[member.host].read(cache.record.name, member.name, orders.USERS))
    async with await cache.connect(step.node) as node:
        listed = await node.ask("ACL", "LIST")
        if cache.record.acl.get(member.name, ("", ""))[1] != users_digest(listed):
            # Changed by somebody else since: the file is no guide to what is there, so every user is set anew.
            before = tuple(
                each for each in parse_acl("\n".join(listed)) if each.name not in {u.name for u in wanted}
            )
        changes = changed_users(wanted, before)
        for user in changes.set:
            await node.ask("ACL", "SETUSER", *user_setrules(user))
        for name in changes.delete:
            await node.ask("ACL", "DELUSER", name)
        listed = await node.ask("ACL", "LIST")
    await _rewrite(cache, member)
    digests = (orders.digest(text), users_digest(listed))
    cache.save(replace(cache.record, acl={**cache.record.acl, member.name: digests}))


async def _rewrite(cache: LiveCache, member: Member) -> None:
    """Write the node's files anew, following whom it follows now."""
    primary: Address | None = None
    if member.kind is Kind.SENTINEL:  # its own memory stays in its file
        await cache.prepare(member, None)
        return
    async with await cache.connect(member.name) as node:
        role = await node.ask("ROLE")
        if role[0] == "slave":
            primary = (str(role[1]), int(role[2]))
    await cache.prepare(member, primary)
