"""Policies driven by hand: what a node answers is said beforehand, time stands still unless it is moved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from holdfast.client import declare
from holdfast.client.layout import Address, Layout, ShardAt
from holdfast.client.operations import Pause, Policy, Relook, Send, SendEach
from holdfast.client.shared import Clock, Settings, Shared
from holdfast.profile import NamespaceProfile, PoolProfile, Profile, Seed

PRIMARY, REPLICA = Address("primary", 1), Address("replica", 2)
Answer = Callable[[Send], Any]


class Door:
    """Stands where an edge's door would."""

    in_use = 0

    def close(self) -> None: ...


@dataclass
class Hand:
    """Drives a policy; `answers` by address, an exception is raised instead."""

    answers: dict[Address, Answer]
    now: float = 100.0
    chance: float = 0.5
    sent: list[Address] = field(default_factory=list)
    namespaces: dict[str, NamespaceProfile] = field(
        default_factory=lambda: {"bill": declare("bill:{id}", ttl_s=60, tier="l1+l2")}
    )

    def __post_init__(self) -> None:
        profile = Profile(
            "demo",
            "shop",
            "replicated",
            (Seed("primary", 1),),
            "",
            "",
            None,
            pool=PoolProfile(),
            namespaces=self.namespaces,
        )
        clock = Clock(lambda: self.now, lambda: int(self.now * 1000), lambda: self.chance)
        self.shared = Shared(profile, Settings(), lambda at: Door(), clock)
        self.shared.put_layout(Layout((ShardAt(PRIMARY, (REPLICA,)),)))

    def run(self, policy: Policy, most: int = 200) -> Any:
        try:
            operation = policy.send(None)
            for _ in range(most):
                try:
                    result = self._do(operation)
                except Exception as failed:
                    operation = policy.throw(failed)
                else:
                    operation = policy.send(result)
        except StopIteration as done:
            return done.value
        raise AssertionError("the policy does not end")

    def _do(self, operation: Any) -> Any:
        match operation:
            case Send():
                self.sent.append(operation.node.address)
                return self.answers[operation.node.address](operation)
            case SendEach(sends):
                return [self._quietly(each) for each in sends]
            case Relook(_, until):
                self.now = max(self.now, until)
            case Pause(seconds):
                self.now += seconds
            case _:
                raise AssertionError(operation)
        return None

    def _quietly(self, send: Send) -> Any:
        try:
            return self._do(send)
        except Exception as failed:
            return failed
