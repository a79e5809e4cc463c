"""What can be done with the keys of one namespace, each as a policy that either edge runs; and what both faces share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from holdfast.client import batch, load, reading
from holdfast.client.calls import READS, ReadFrom, ask, read, request
from holdfast.client.errors import (
    CacheError,
    CacheUnavailable,
    KeyInvalid,
    NamespaceUnknown,
    NotWritable,
    ValueRefused,
    ValueUnreadable,
)
from holdfast.client.kept import GONE
from holdfast.client.load import Loading
from holdfast.client.operations import Node, Policy
from holdfast.client.reading import Read
from holdfast.client.shared import Family, Shared, unreadable
from holdfast.client.values import Unreadable, Values
from holdfast.client.wire import ReplyError, eval_if_same
from holdfast.client.writing import done_writing, written, wrote
from holdfast.errors import WrongUsage

# The first increment gives the counter its time to live.
INCREMENT = """\
local n = redis.call('INCRBY', KEYS[1], ARGV[1])
if ARGV[2] ~= '0' and redis.call('PTTL', KEYS[1]) == -1 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return n
"""
LONGEST_TTL_S = 10 * 365 * 86_400


class Verbs:
    """The policies of one namespace, made by `of`. Its methods check what they are given before anything is sent."""

    def __init__(self, shared: Shared, family: Family, values: Values) -> None:
        self.shared, self.family, self.values = shared, family, values

    @classmethod
    def of(cls, shared: Shared, name: str, kind: Any, codec: str) -> Verbs:
        """The same for the same words, so that all who use a namespace share its loads and its entries in the first tier.

        Raises: NamespaceUnknown, NamespaceInvalid.
        """
        family = shared.families.get(name)
        if family is None:
            raise NamespaceUnknown(name, tuple(shared.families))
        view = (name, kind, codec)
        verbs: Verbs | None = shared.views.get(view)
        if verbs is None:
            above = family.declared.compress_above_bytes
            values = Values(name, codec, kind, above, shared.settings.largest_value_bytes)
            verbs = shared.views.setdefault(view, cls(shared, family, values))
        return verbs

    def key(self, given: object, fields: Mapping[str, object]) -> str:
        """The key of these fields, or the ready key, known to be one of this namespace. Raises: KeyInvalid."""
        if given is None:
            return self.family.pattern.sound(self.family.pattern.build(fields))
        if fields:
            raise self._wrong("give a ready key or fields, not both")
        self.family.pattern.check(given)
        return given  # type: ignore[return-value]

    def get(self, key: str, where: str | None, within_s: float | None) -> Policy:
        wanted = self._read(key, where, within_s)
        if where is None and (entry := self.shared.l1.get(key, self.values)) is not None:
            return entry.value
        return (yield from reading.get(self.shared, wanted))

    def plain_node(self) -> Node | None:
        """The node to read from, in the plain case only: no slots, the primary, healthy, and nothing for the first tier.

        Whoever reads there by itself hands everything but a plain value or none to `get`'s policy.
        """
        node = self.shared.sole_primary
        if (
            node is None
            or node.breaker.failures
            or self.family.in_l1
            or self.family.declared.read != "primary"
            or self.shared.closed
        ):
            return None
        return node

    def time_left(self, node: Node, began: float, failed: CacheError) -> float:
        """Of a plain read that got no answer, for the policy: seconds. Raises: CacheUnavailable when there are none."""
        now = self.shared.clock.now()
        left_s = began + self.shared.command_s - now
        if left_s > 0:
            return left_s
        node.breaker.failed(now)
        self.shared.look_again()
        self.shared.figures.unavailable += 1
        raise CacheUnavailable(self.shared.profile.cache, "GET", now - began, str(failed)) from failed

    def plain_value(self, key: str, raw: bytes | None) -> Any:
        """What a plain read found."""
        if raw is None:
            self.shared.figures.misses += 1
            return None
        try:
            value = self.values.decode_bare(raw)
        except Unreadable as wrong:
            unreadable(self.shared, ValueUnreadable(self.family.name, key, str(wrong)))
            self.shared.figures.misses += 1
            return None
        self.shared.figures.hits_l2 += 1
        return value

    def get_or_load(
        self,
        loader: Callable[..., Any],
        key: str,
        where: str | None,
        within_s: float | None,
        new_flight: Callable[[], Any],
    ) -> Policy:
        """The loader is called with the key's fields as keyword arguments."""
        wanted = Loading(
            self._read(key, where, within_s), loader, self.family.pattern.take_apart(key), new_flight
        )
        if where is None and (entry := self.shared.l1.get(key, self.values)) is not None:
            return entry.value
        return (yield from load.get_or_load(self.shared, wanted))

    def put(
        self, key: str, value: Any, ttl_s: float | str | None, within_s: float | None, *only: str
    ) -> Policy:
        """Args: `only`, NX: where there is none. Result: whether it was written."""
        self._may_write()
        self._is_value(value)
        raw, ttl_ms = written(self.shared, self.family, self.values, value, self._ttl_ms(ttl_s))
        command: tuple[Any, ...] = ("SET", key, raw, *only, *(("PX", ttl_ms) if ttl_ms else ()))
        return self._write(key, command, within_s, repeatable=False, reply=lambda said: said is not None)

    def delete(self, key: str, within_s: float | None) -> Policy:
        """Result: whether there was one."""
        self._may_write()
        self._forget_flights(key)
        return self._write(key, ("DEL", key), within_s, repeatable=True, reply=bool)

    def touch(self, key: str, ttl_s: float | str | None, within_s: float | None) -> Policy:
        """Result: whether there was one."""
        self._may_write()
        lives_ms = self._ttl_ms(ttl_s)
        ttl_ms = self.family.ttl_ms if lives_ms is None else lives_ms
        command = ("PEXPIRE", key, ttl_ms) if ttl_ms is not None else ("PERSIST", key)
        return self._write(key, command, within_s, repeatable=True, reply=bool)

    def increment(self, key: str, by: int, ttl_s: float | str | None, within_s: float | None) -> Policy:
        """Result: the number it is now."""
        self._may_write()
        if isinstance(by, bool) or not isinstance(by, int) or not -(2**62) < by < 2**62:
            raise ValueRefused(self.family.name, f"by is {by!r}, not a whole number of 62 bits")
        lives_ms = self._ttl_ms(ttl_s)
        ttl_ms = self.family.ttl_ms if lives_ms is None else lives_ms
        command = eval_if_same(INCREMENT, key, by, ttl_ms or 0)
        return self._write(key, command, within_s, repeatable=False, reply=int)

    def exists(self, key: str, where: str | None, within_s: float | None) -> Policy:
        """Result: whether the server has it (a remembered absence counts as something)."""
        return self._ask_one(key, ("EXISTS", key), where, within_s, bool, lambda reply: reply == 0)

    def ttl_s(self, key: str, within_s: float | None) -> Policy:
        """Result: seconds left, inf for one without an end, None where there is no key."""
        return self._ask_one(
            key,
            ("PTTL", key),
            "primary",
            within_s,
            lambda ms: None if ms == -2 else math.inf if ms == -1 else ms / 1000,
            lambda reply: reply == -2,
        )

    def get_many(self, keys: Iterable[str], where: str | None, within_s: float | None) -> Policy:
        """Result: {key: value} of those that are there; those of the first tier without asking anybody."""
        wanted = list(keys)
        self.family.pattern.check_each(wanted)
        if where is None and self.family.in_l1:
            return self._get_many_near(wanted, within_s)
        return self._get_many_far(wanted, where, within_s)

    def put_many(self, items: Mapping[str, Any], ttl_s: float | str | None, within_s: float | None) -> Policy:
        """Result: None."""
        self._may_write()
        commands: dict[str, tuple[Any, ...]] = {}
        lives_ms = self._ttl_ms(ttl_s)
        for key, value in items.items():
            self.key(key, {})
            self._is_value(value)
            raw, ttl_ms = written(self.shared, self.family, self.values, value, lives_ms)
            commands[key] = ("SET", key, raw, "PX", ttl_ms) if ttl_ms else ("SET", key, raw)
        return self._change_many(commands, within_s)

    def delete_many(self, keys: Iterable[str], within_s: float | None) -> Policy:
        """Result: how many there were."""
        self._may_write()
        commands = {self.key(key, {}): ("DEL", key) for key in keys}
        for key in commands:
            self._forget_flights(key)
        return self._change_many(commands, within_s)

    def _get_many_near(self, keys: list[str], within_s: float | None) -> Policy:
        near: dict[str, Any] = {}
        far = []
        look = self.shared.l1.view(self.values).look
        for key in keys:
            value = look(key)
            if value is GONE:
                far.append(key)
            elif value is not None:
                near[key] = value
        if not far:
            return near
        return near | (yield from self._get_many_far(far, None, within_s))

    def _get_many_far(self, keys: list[str], where: str | None, within_s: float | None) -> Policy:
        within = self._batch_s(len(keys)) if within_s is None else self._within(within_s)
        return batch.get_many(self.shared, self.family, self.values, keys, self._where(where), within)

    def _change_many(self, commands: Mapping[str, tuple[Any, ...]], within_s: float | None) -> Policy:
        for key in commands:
            wrote(self.shared, self.family, key)
        try:
            replies = yield from batch.change_many(
                self.shared, commands, self._within(within_s or self._batch_s(len(commands)))
            )
        finally:
            for key in commands:
                done_writing(self.shared, key)
        return sum(reply for reply in replies.values() if isinstance(reply, int))

    def _write(
        self,
        key: str,
        command: tuple[Any, ...],
        within_s: float | None,
        *,
        repeatable: bool,
        reply: Callable[[Any], Any],
    ) -> Policy:
        within = self._within(within_s)

        def policy() -> Policy:
            wrote(self.shared, self.family, key)
            try:
                said = yield from ask(
                    self.shared,
                    request(self.shared, key, command, within_s=within, repeatable=repeatable),
                )
            finally:
                done_writing(self.shared, key)
            return reply(said)

        return policy()

    def _ask_one(
        self,
        key: str,
        command: tuple[Any, ...],
        where: str | None,
        within_s: float | None,
        reply: Callable[[Any], Any],
        missing: Callable[[Any], bool],
    ) -> Policy:
        wanted = self._read(key, where, within_s)
        sent = request(self.shared, key, command, within_s=wanted.within_s)
        said = yield from read(
            self.shared, sent, wanted.where, missing, self.family.declared.stale_bound_ms, key
        )
        assert not isinstance(said, ReplyError)
        return reply(said)

    def _read(self, key: str, where: str | None, within_s: float | None) -> Read:
        return Read(self.family, self.values, key, self._where(where), self._within(within_s))

    def _where(self, where: str | None) -> ReadFrom:
        chosen: Any = self.family.declared.read if where is None else where
        if chosen not in READS:
            raise WrongUsage(f"read={where!r} is no way to read", f"use one of {', '.join(READS)}")
        return chosen  # type: ignore[no-any-return]

    def _within(self, within_s: float | None) -> float:
        if within_s is None:
            return self.shared.command_s
        if isinstance(within_s, bool) or not isinstance(within_s, int | float) or not 0 < within_s < 1e6:
            raise WrongUsage(f"within_s={within_s!r} is no time to wait", "give seconds above 0")
        return within_s

    def _batch_s(self, keys: int) -> float:
        pool = self.shared.profile.pool
        batches = 1 if keys <= pool.batch_size else math.ceil(keys / pool.batch_size)
        return max(self.shared.command_s, pool.pipeline_timeout_ms / 1000 * batches)

    def _ttl_ms(self, ttl_s: float | str | None) -> int | None:
        if ttl_s is None:
            return None
        if isinstance(ttl_s, str) and ttl_s in self.family.declared.shorter_ttls_s:
            return int(self.family.declared.shorter_ttls_s[ttl_s] * 1000)
        if (
            isinstance(ttl_s, bool)
            or not isinstance(ttl_s, int | float)
            or not 0.001 <= ttl_s <= LONGEST_TTL_S
        ):
            cases = ", ".join(self.family.declared.shorter_ttls_s)
            raise ValueRefused(
                self.family.name,
                f"a TTL of {ttl_s!r} s" + (f"; cases that are declared: {cases}" if cases else ""),
            )
        if self.family.ttl_ms is not None and ttl_s * 1000 > self.family.ttl_ms:
            raise ValueRefused(
                self.family.name,
                f"a TTL of {ttl_s:g} s is longer than the {self.family.ttl_ms / 1000:g} s declared",
            )
        return int(ttl_s * 1000)

    def _may_write(self) -> None:
        if not self.family.declared.writes:
            raise NotWritable(self.family.name)

    def _is_value(self, value: Any) -> None:
        if value is None:
            raise ValueRefused(self.family.name, "None means that there is no value; delete the key instead")

    def _forget_flights(self, key: str) -> None:
        """Whoever asks from now on must not get what was loaded before."""
        for name in [name for name in self.shared.flights.copy() if name[0] == key]:
            self.shared.flights.pop(name, None)

    def _wrong(self, why: str) -> KeyInvalid:
        return KeyInvalid(self.family.name, self.family.pattern.text, why)
