"""Commands as bytes: what a drawn command and key number become on the wire, and in the ledger. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.load.accounts import Accounts
from holdfast.load.draw import Dice, FlowKeys, Values, bulk
from holdfast.load.workload import Command, Flow

KINDS = tuple(Command)
GET, SET, MGET, HSET, HGETALL, INCR, RPUSH = range(len(KINDS))
FILL = len(KINDS)
"""A SET by a client that missed."""
NAMES = (*(kind.value for kind in KINDS), "FILL")
READS = frozenset({GET, MGET, HGETALL})
TYPES = {HSET: "h", HGETALL: "h", INCR: "c", RPUSH: "l"}

Op = tuple[int, int, int, int, float]
"""Kind, flow, key number, id (of a GET: what was acknowledged before), when it was due."""


class Commands:
    """Makes commands on the keys of all flows."""

    def __init__(
        self, flows: Sequence[Flow], keys: Sequence[FlowKeys], accounts: Accounts, rng: Dice
    ) -> None:
        self.keys = keys
        self.accounts = accounts
        self.values = [Values(flow.value_bytes, rng) for flow in flows]
        self.expiry = [bulk(b"EX") + bulk(str(flow.ttl_s).encode()) for flow in flows]

    def make(self, kind: int, flow: int, number: int, due_s: float) -> tuple[bytes, int, Op]:
        """The bytes, the slot, and what to remember until the answer comes."""
        keys = self.keys[flow]
        if kind == GET:
            name, slot = keys.key(number)
            op = (GET, flow, number, self.accounts.acknowledged(flow, number), due_s)
            return b"*2\r\n$3\r\nGET\r\n" + name, slot, op
        if kind in {SET, FILL}:
            version = self.accounts.begin_write(flow, number)
            if not version:  # one is under way: its outcome decides what a read must find, so none beside it
                return self.make(GET, flow, number, due_s)
            name, slot = keys.key(number)
            value = bulk(self.values[flow].of(version))
            data = b"*5\r\n$3\r\nSET\r\n" + name + value + self.expiry[flow]
            return data, slot, (kind, flow, number, version, due_s)
        if kind == MGET:
            group = keys.group(number)
            names = [keys.key(each) for each in group]
            data = b"*%d\r\n$4\r\nMGET\r\n" % (len(group) + 1) + b"".join(name for name, _ in names)
            return data, names[0][1], (MGET, flow, number, 0, due_s)
        name, slot = keys.key(number, TYPES[kind])
        version = self.accounts.next_id()
        op = (kind, flow, number, version, due_s)
        if kind != HGETALL:
            self.accounts.touch(flow, TYPES[kind], number)
        if kind == HSET:
            value = bulk(self.values[flow].of(version))
            return b"*4\r\n$4\r\nHSET\r\n" + name + bulk(b"f%d" % (version % 8)) + value, slot, op
        if kind == HGETALL:
            return b"*2\r\n$7\r\nHGETALL\r\n" + name, slot, op
        if kind == INCR:
            return b"*2\r\n$4\r\nINCR\r\n" + name, slot, op
        return b"*3\r\n$5\r\nRPUSH\r\n" + name + bulk(b"%d" % version), slot, op
