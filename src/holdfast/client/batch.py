"""Many keys in few requests: MGET and pipelines, split by slot, sent to all nodes at once, mended one by one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from holdfast.client import many
from holdfast.client.calls import ReadFrom, Request, WrongType, ask, first_error, judge, replica_of
from holdfast.client.errors import CacheUnavailable, NodeLost, NodeUnreached
from holdfast.client.first_tier import FillToken
from holdfast.client.keys import slot_of
from holdfast.client.layout import ShardAt
from holdfast.client.operations import Node, Policy, Send, SendEach
from holdfast.client.reading import Found, Read, count, keep_near, opened
from holdfast.client.shared import Family, Shared
from holdfast.client.values import MAGIC, Unreadable, Values
from holdfast.client.wire import ReplyError, pack


@dataclass(slots=True)
class _Part:
    """One command, and the keys whose values it asks for or changes."""

    slot: int
    keys: list[str]
    command: bytes
    name: str


@dataclass(slots=True)
class _Bundle:
    """Parts that go to one node in one write."""

    node: Node
    parts: list[_Part]
    tokens: dict[str, FillToken | None] = field(default_factory=dict)


def get_many(
    shared: Shared, family: Family, values: Values, keys: list[str], where: ReadFrom, within_s: float
) -> Policy:
    """Read many keys. Result: {key: value} of those that are there. Raises: as `ask`."""
    if where == "primary" and shared.slotless and not family.in_l1 and 1 < len(keys) <= _most(shared):
        return _plainly(shared, family, values, keys, within_s)
    return _carefully(shared, family, values, keys, where, within_s)


def _carefully(
    shared: Shared, family: Family, values: Values, keys: list[str], where: ReadFrom, within_s: float
) -> Policy:
    """By slot and node, from replicas where they may be read, and into the first tier."""
    until, read_at = shared.clock.now() + within_s, shared.clock.now()
    replies: dict[str, tuple[Any, int]] = {}
    tokens: dict[str, FillToken | None] = {}
    left = list(dict.fromkeys(keys))
    if where != "primary":
        yield from _bundled(shared, family, left, where, until, replies, tokens)
        left = [key for key in left if replies.get(key, (None, 0))[0] is None]
        if where == "replica" and (unread := [key for key in left if key not in replies]):
            raise CacheUnavailable(
                shared.profile.cache, "MGET", within_s, f"no replica answered for {len(unread)} keys"
            )
    if where != "replica":
        yield from _bundled(shared, family, left, "primary", until, replies, tokens)
        for part in _get_parts(shared, [key for key in left if key not in replies]):
            sent = Request((part.command, *_ttl_parts(family, part.keys)), part.slot, part.name, until)
            try:
                answer = yield from ask(shared, sent)
            except WrongType:  # MGET answers nothing for such a key, and so does this
                answer = None if len(sent.parts) == 1 else [None] + [-1] * len(part.keys)
            _spread(part, answer if isinstance(answer, list) and len(sent.parts) > 1 else [answer], replies)
    result: dict[str, Any] = {}
    now_ms = shared.clock.wall_ms()
    wanted = Read(family, values, keys[0], where, within_s) if keys else None
    hits = 0
    for key in dict.fromkeys(keys):
        raw, ttl_ms = replies.get(key, (None, -1))
        if raw is not None and not family.in_l1 and raw[:2] != MAGIC:  # the usual case
            try:
                result[key] = values.decode_bare(raw)
                hits += 1
                continue
            except Unreadable:
                pass  # booked and reported below
        found = opened(shared, family, values, key, raw)
        if found.stored is not None and 0 < found.stored.fresh_until_ms <= now_ms:
            found = Found(None)
        found.ttl_ms, found.token, found.read_at = ttl_ms, tokens.get(key), read_at
        count(shared, found)
        if family.in_l1 and wanted is not None:
            keep_near(shared, replace(wanted, key=key), found)
        if found.is_value:
            result[key] = found.value
    shared.figures.hits_l2 += hits
    return result


def _plainly(shared: Shared, family: Family, values: Values, keys: list[str], within_s: float) -> Policy:
    """One MGET to the only primary, its replies as they come."""
    sent = Request((many.mget(keys),), 0, "MGET", shared.clock.now() + within_s)
    replies = yield from ask(shared, sent)
    figures = shared.figures
    found = values.by_key(keys, replies)
    if found is not None:
        figures.hits_l2 += len(found)
        if len(found) < len(keys):
            figures.misses += replies.count(None)
        return found
    result: dict[str, Any] = {}
    now_ms = shared.clock.wall_ms()
    for key, raw in zip(keys, replies, strict=True):
        each = opened(shared, family, values, key, raw)
        if each.stored is not None and 0 < each.stored.fresh_until_ms <= now_ms:
            each = Found(None)
        count(shared, each)
        if each.is_value:
            result[key] = each.value
    return result


def _most(shared: Shared) -> int:
    """Keys in one request."""
    return max(1, shared.profile.pool.batch_size)


def change_many(shared: Shared, commands: Mapping[str, tuple[Any, ...]], within_s: float) -> Policy:
    """One command for each key. Result: {key: its reply}. Raises: as `ask`; some may have been done by then."""
    until = shared.clock.now() + within_s
    parts = [
        _Part(_slot(shared, key), [key], pack(command), str(command[0])) for key, command in commands.items()
    ]
    repeatable = all(command[0] in ("DEL", "UNLINK") for command in commands.values())
    replies: dict[str, Any] = {}
    bundles = list(_bundles(shared, parts, "primary", None))
    results = yield SendEach([_send(bundle, (), until, readonly=False) for bundle in bundles])
    bundled = {part.keys[0] for bundle in bundles for part in bundle.parts}
    failed = [part for part in parts if part.keys[0] not in bundled]
    for bundle, result in zip(bundles, results, strict=True):
        for part, reply in zip(
            bundle.parts, _replies(shared, bundle, result, len(bundle.parts)), strict=True
        ):
            if reply is _NONE_CAME and isinstance(result, NodeLost) and not repeatable:
                raise CacheUnavailable(
                    shared.profile.cache, part.name, within_s, str(result), may_have_run=True
                )
            if reply is _NONE_CAME or first_error(reply) is not None:
                failed.append(part)
            else:
                replies[part.keys[0]] = reply
    for part in failed:
        replies[part.keys[0]] = yield from ask(
            shared, Request((part.command,), part.slot, part.name, until, repeatable)
        )
    return replies


_NONE_CAME = object()


def _bundled(
    shared: Shared,
    family: Family,
    keys: Sequence[str],
    where: ReadFrom,
    until: float,
    replies: dict[str, tuple[Any, int]],
    tokens: dict[str, FillToken | None],
) -> Policy:
    """Ask all nodes at once; what is answered goes into `replies`, what is not stays out of it."""
    bundles = list(_bundles(shared, _get_parts(shared, keys), where, family.declared.stale_bound_ms))
    if not bundles:
        return
    sends = []
    for bundle in bundles:
        asked = [key for part in bundle.parts for key in part.keys]
        if family.in_l1:
            bundle.tokens = {key: shared.l1.token(key, bundle.node.trust) for key in asked}
        readonly = shared.clustered and where != "primary"
        sends.append(_send(bundle, _ttl_parts(family, asked), until, readonly=readonly))
    results = yield SendEach(sends)
    for bundle, send, result in zip(bundles, sends, results, strict=True):
        answers = _replies(shared, bundle, result, send.replies)
        ttls = iter(answers[len(bundle.parts) :])
        for part, answer in zip(bundle.parts, answers, strict=False):
            own_ttls = [next(ttls, -1) for _ in part.keys] if family.in_l1 else []
            if answer is not _NONE_CAME and first_error(answer) is None:
                _spread(part, [answer, *own_ttls], replies)
                # Only of the node that answered: what is read elsewhere afterwards has no proof.
                tokens.update((key, bundle.tokens.get(key)) for key in part.keys)


def _replies(shared: Shared, bundle: _Bundle, result: Any, wanted: int) -> list[Any]:
    """The replies of a bundle in order; all _NONE_CAME when it failed, which its node's breaker is told."""
    if isinstance(result, NodeLost | NodeUnreached):
        if not getattr(result, "link_ended", False) or bundle.node.breaker.on_trial:
            bundle.node.breaker.failed(shared.clock.now())
        shared.look_again()
        return [_NONE_CAME] * wanted
    if isinstance(result, BaseException) and not isinstance(result, ReplyError):
        raise result
    bundle.node.breaker.succeeded()
    answers = result if wanted > 1 else [result]
    for answer in answers:
        if (said := first_error(answer)) is not None:
            try:
                judge(shared, Request((), 0, bundle.parts[0].name, 0.0), bundle.node, said)
            except WrongType:
                continue
    return list(answers)


def _spread(part: _Part, answers: Sequence[Any], replies: dict[str, tuple[Any, int]]) -> None:
    """Give each key its value and its TTL."""
    if len(answers) == 1 and len(part.keys) > 1 and not replies:
        replies.update((key, (value, -1)) for key, value in zip(part.keys, answers[0], strict=True))
        return
    values = answers[0] if len(part.keys) > 1 else [answers[0]]
    ttls = [each if isinstance(each, int) else -1 for each in answers[1:]] or [-1] * len(part.keys)
    for key, value, ttl_ms in zip(part.keys, values, ttls, strict=True):
        if value is not None or key not in replies:
            replies[key] = (value, ttl_ms)


def _get_parts(shared: Shared, keys: Sequence[str]) -> list[_Part]:
    """GET for a slot's only key, MGET for several."""
    by_slot: defaultdict[int, list[str]] = defaultdict(list)
    most = _most(shared)
    for key in keys:
        by_slot[_slot(shared, key)].append(key)
    return [
        _Part(slot, chunk, pack(("GET", *chunk) if len(chunk) == 1 else ("MGET", *chunk)), "MGET")
        for slot, of_slot in by_slot.items()
        for chunk in (of_slot[at : at + most] for at in range(0, len(of_slot), most))
    ]


def _bundles(
    shared: Shared, parts: Sequence[_Part], where: ReadFrom, stale_bound_ms: int | None
) -> Iterator[_Bundle]:
    """Parts by node, at most a batch of keys each; those whose node is not known or left alone are left out."""
    now = shared.clock.now()
    most = _most(shared)
    open_ones: dict[int, tuple[_Bundle, int]] = {}
    nodes: dict[ShardAt, Node | None] = {}
    for part in parts:
        shard = shared.shard_of(part.slot)
        if shard is None:
            continue
        if shard not in nodes or where != "primary":
            node = (
                shared.node(shard.primary)
                if where == "primary"
                else replica_of(shared, shard, where, stale_bound_ms, part.keys[0])
            )
            nodes[shard] = (
                node if node is not None and (where != "primary" or node.breaker.allows(now)) else None
            )
        node = nodes[shard]
        if node is None:
            continue
        bundle, size = open_ones.get(id(node), (None, 0))
        if bundle is None or size + len(part.keys) > most:
            if bundle is not None:
                yield bundle
            bundle, size = _Bundle(node, []), 0
        bundle.parts.append(part)
        open_ones[id(node)] = (bundle, size + len(part.keys))
    yield from (bundle for bundle, _ in open_ones.values())


def _send(bundle: _Bundle, more: Sequence[bytes], until: float, *, readonly: bool) -> Send:
    commands = [part.command for part in bundle.parts]
    return Send(bundle.node, b"".join((*commands, *more)), len(commands) + len(more), readonly, until)


def _ttl_parts(family: Family, keys: Sequence[str]) -> tuple[bytes, ...]:
    return tuple(pack(("PTTL", key)) for key in keys) if family.in_l1 else ()


def _slot(shared: Shared, key: str) -> int:
    return 0 if shared.slotless else slot_of(key.encode())
