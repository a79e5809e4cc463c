"""One load worker's loop: open loop on raw sockets.

A command is due by the clock, whether or not earlier ones are answered, and its latency counts from then: a stall is
seen by all that it held up (no coordinated omission). A client has one pipeline under way at a time; what is due while
all clients wait queues up, as it does in an application's connection pool.
"""

from __future__ import annotations

import select
import sys
import time
from collections import deque
from random import Random

import hiredis

from holdfast.load.accounts import Accounts
from holdfast.load.commands import FILL, GET, HGETALL, KINDS, MGET, NAMES, READS, RPUSH, SET, Commands, Op
from holdfast.load.draw import FlowKeys
from holdfast.load.job import Job, WorkerReport, share_out
from holdfast.load.links import Link, Mender
from holdfast.load.measures import Measures

DRAWN_AT_ONCE = 32
DRAIN_BOUND_S = 2.0
LONGEST_SLEEP_S = 0.05
AWAKE_S = 60e-6
"""So long before a command is due the worker is awake, where that takes little of a core: to be woken takes as long."""
RARE_S = 400e-6
"""Commands this far apart or more are rare."""


class Worker:
    """The loop and its state."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.offer = job.offer
        rng = Random(job.seed * 1000 + job.worker)  # noqa: S311 - keys to draw, no secrets
        self.rng = rng
        workers = job.offer.workers
        clustered = job.reach.clustered
        self.keys = [
            FlowKeys(f, job.run, job.worker, workers, clustered=clustered, rng=rng) for f in job.flows
        ]
        self.entries = [
            (KINDS.index(kind), place)
            for place, flow in enumerate(job.flows)
            for kind, rate in flow.commands.items()
            if rate > 0
        ]
        rates = [rate for flow in job.flows for rate in flow.commands.values() if rate > 0]
        self.weights = [sum(rates[: place + 1]) for place in range(len(rates))]
        self.drawn: list[tuple[int, int]] = []
        self.clients = share_out(job.offer.clients, workers)[job.worker]
        self.report = WorkerReport(job.worker)
        self.accounts = Accounts(len(job.flows))
        self.commands = Commands(job.flows, self.keys, self.accounts, rng)
        self.measures = Measures(NAMES)
        self.mender = Mender(job.reach)
        self.poller = select.epoll()
        self.links: dict[int, Link] = {}
        self.by_client: list[dict[int, Link]] = [{} for _ in range(self.clients)]
        self.waiting = [0] * self.clients
        """Answers that each client waits for."""
        self.fills: list[list[tuple[int, int]]] = [[] for _ in range(self.clients)]
        self.free: deque[int] = deque(range(self.clients))
        self.asked_for: list[set[int]] = [set() for _ in range(self.clients)]
        """Nodes to which each client's connection is being opened again."""
        self.missing = 0
        self.counting = False
        self.freed_s = 0.0
        """When a client last became free: before that, nothing could be sent."""
        self._looked_s = 0.0
        self.heeds_stdin = True
        self.told_to_end = False

    def connect(self) -> None:
        """Open every client's connections. Raises: OSError."""
        reach = self.job.reach
        nodes = set(reach.primaries) | (
            set(reach.replicas.values()) if self.offer.reads_from_replicas else set()
        )
        replicas = set(reach.replicas.values())
        for client in range(self.clients):
            for node in nodes:
                sock = self.mender.door.open(node, read_only=reach.clustered and node in replicas)
                sock.setblocking(False)
                self._adopt(Link(client, node, sock))
        self.report.connections = len(self.links)

    def run(self, start_s: float) -> None:
        """Offer the load from `start_s` (monotonic) on, through warm-up and the time that counts."""
        offer = self.offer
        begin_s = start_s + offer.warm_up_s
        end_s = begin_s + offer.seconds
        step_s = offer.pipeline * offer.workers / offer.rate_per_s if offer.rate_per_s else 0.0
        due_s = start_s + step_s * self.job.worker / offer.workers
        awake_s = AWAKE_S if step_s >= RARE_S else 0.0
        cpu_s = 0.0
        while True:
            now_s = time.monotonic()
            if now_s >= begin_s and not self.counting:
                self.counting, cpu_s = True, time.process_time()
                self.report.began_s = time.time() - (now_s - begin_s)
                self.measures.begin(begin_s)
            if now_s >= end_s or self.told_to_end:
                break
            if step_s:
                while due_s <= now_s and self.free:
                    self.measures.late(now_s - max(due_s, self.freed_s))
                    self._send(self.free.popleft(), due_s)
                    due_s += step_s
                sleep_s = due_s - awake_s - now_s if self.free else LONGEST_SLEEP_S
            else:
                for _ in range(len(self.free)):
                    self._send(self.free.popleft(), time.monotonic())
                sleep_s = LONGEST_SLEEP_S if len(self.free) < self.clients else 0.001
            self._wait(min(max(sleep_s, 0.0), end_s - now_s, 0.005 if self.missing else LONGEST_SLEEP_S))
        self.counting = False
        self.report.cpu_share = (time.process_time() - cpu_s) / offer.seconds
        self.report.counted_s = offer.seconds
        if step_s and due_s < end_s:
            never = int((end_s - due_s) / step_s)
            self.report.unsent = never * offer.pipeline
            self.measures.never_sent(due_s, step_s, end_s, never, offer.pipeline)
        drained_s = time.monotonic() + DRAIN_BOUND_S
        self.counting = True
        while any(self.waiting) and time.monotonic() < drained_s:
            self._wait(0.01)
        self.counting = False
        self.measures.fill(self.report)
        self.accounts.fill(self.report)

    def _send(self, client: int, due_s: float) -> None:
        """One client's next pipeline, to each node its part."""
        parts: dict[int, tuple[list[bytes], list[Op]]] = {}
        owner = self.mender.owner
        elapsed_s = due_s - self.measures.began_s if self.counting else 0.0
        for _ in range(self.offer.pipeline):
            if not self.drawn:
                self.drawn = self.rng.choices(self.entries, cum_weights=self.weights, k=DRAWN_AT_ONCE)
            kind, flow = self.drawn.pop()
            number = self.keys[flow].number(elapsed_s)
            data, slot, op = self.commands.make(kind, flow, number, due_s)
            node = owner[slot]
            if self.offer.reads_from_replicas and kind in READS:
                node = self.job.reach.replicas.get(node, node)
            part = parts.get(node)
            if part is None:
                part = parts[node] = ([], [])
            part[0].append(data)
            part[1].append(op)
        self._dispatch(client, parts)

    def _dispatch(self, client: int, parts: dict[int, tuple[list[bytes], list[Op]]]) -> None:
        links = self.by_client[client]
        if self.counting:
            self.report.offered += sum(len(ops) for _, ops in parts.values())
        for node, (data, ops) in parts.items():
            link = links.get(node)
            if link is None:
                if node not in self.asked_for[client]:
                    self.asked_for[client].add(node)
                    self.missing += 1
                    self.mender.want(client, node)
                self._fail(ops, "no connection to the node")
                continue
            self.waiting[client] += len(ops)
            if not link.ops:
                link.since_s = time.monotonic()
            link.ops.extend(ops)
            try:
                if not link.send(b"".join(data)):
                    self.poller.modify(link.sock, select.EPOLLIN | select.EPOLLOUT)
            except OSError as broken:
                self._lose(link, type(broken).__name__)
        if not self.waiting[client]:
            self._released(client)

    def _wait(self, sleep_s: float) -> None:
        """Until an answer comes or the time is over; select has microseconds where epoll has milliseconds."""
        if sleep_s > 0:
            select.select([self.poller.fileno()], [], [], sleep_s)
        for handle, what in self.poller.poll(0):
            link = self.links.get(handle)
            if link is None:
                continue
            try:
                if what & select.EPOLLOUT and link.unsent and link.send(b""):
                    self.poller.modify(link.sock, select.EPOLLIN)
                alive = link.feed() if what & ~select.EPOLLOUT else True
            except OSError as broken:
                self._lose(link, type(broken).__name__)
                continue
            self._take(link)
            if not alive:
                self._lose(link, "connection closed")
        if self.missing:
            while not self.mender.opened.empty():
                link = self.mender.opened.get()
                self.missing -= 1
                self.asked_for[link.client].discard(link.node)
                self._adopt(link)
        self._expire()

    def _take(self, link: Link) -> None:
        """Every whole answer that has come."""
        gets, ops = link.reader.gets, link.ops
        now_s = time.monotonic()
        taken = answered = worst_us = 0
        while ops and (reply := gets()) is not False:
            kind, flow, number, version, due_s = ops.popleft()
            taken += 1
            if isinstance(reply, hiredis.ReplyError):
                self._refused((kind, flow, number, version, due_s), str(reply))
                continue
            if self.counting:
                took_us = int((now_s - due_s) * 1e6)
                self.measures.values[kind].add(took_us)
                if kind != FILL:
                    answered += 1
                if took_us > worst_us:
                    worst_us = took_us
            if kind == GET:
                if not self.accounts.get(flow, number, version, reply) and self.offer.cache_aside:
                    self.fills[link.client].append((flow, number))
            elif kind in {SET, FILL}:
                self.accounts.wrote(flow, number, version, fill=kind == FILL)
            elif kind == MGET:
                self.accounts.many(reply)
            elif kind == RPUSH:
                self.accounts.appended_one(flow, number, version)
            elif kind != HGETALL:
                self.accounts.writes += 1
        if answered:
            self.measures.took(answered, worst_us, now_s)
        if taken:
            link.since_s = now_s
            self.waiting[link.client] -= taken
            if not self.waiting[link.client]:
                self._released(link.client)

    def _released(self, client: int) -> None:
        """The client has all its answers: it writes what it missed, or is free."""
        missed = self.fills[client]
        if missed:
            self.fills[client] = []
            now_s = time.monotonic()
            parts: dict[int, tuple[list[bytes], list[Op]]] = {}
            for flow, number in missed:
                data, slot, op = self.commands.make(FILL, flow, number, now_s)
                part = parts.setdefault(self.mender.owner[slot], ([], []))
                part[0].append(data)
                part[1].append(op)
            self.report.offered -= sum(len(ops) for _, ops in parts.values()) if self.counting else 0
            self._dispatch(client, parts)
            return
        self.freed_s = time.monotonic() if not self.free else self.freed_s
        self.free.append(client)

    def _refused(self, op: Op, words: str) -> None:
        code, _, rest = words.partition(" ")
        if code in {"MOVED", "ASK"}:
            slot, _, place = rest.partition(" ")
            host, _, port = place.rpartition(":")
            known = (host.strip("[]"), int(port)) if port.isdigit() else ("", 0)
            if code == "MOVED" and known in self.job.reach.nodes:
                self.mender.owner[int(slot)] = self.job.reach.nodes.index(known)
            self.mender.doubt()
        elif code in {"READONLY", "CLUSTERDOWN", "MASTERDOWN", "LOADING", "UNBLOCKED"}:
            self.mender.doubt()
        self._fail([op], code)

    def _fail(self, ops: list[Op], words: str) -> None:
        for op in ops:
            self.accounts.give_up(op[1], op[2])
        if self.counting:
            self.report.errors[words] = self.report.errors.get(words, 0) + len(ops)
            self.measures.failed(len(ops), time.monotonic())

    def _lose(self, link: Link, words: str) -> None:
        """Drop a connection; what was under way on it may or may not be done."""
        if self.links.pop(link.sock.fileno(), None) is None:
            return
        self.poller.unregister(link.sock)
        link.sock.close()
        self.by_client[link.client].pop(link.node, None)
        gone = list(link.ops)
        link.ops.clear()
        self.mender.doubt()
        self._fail(gone, words)
        if gone:
            self.waiting[link.client] -= len(gone)
            if not self.waiting[link.client]:
                self._released(link.client)

    def _adopt(self, link: Link) -> None:
        self.links[link.sock.fileno()] = link
        self.by_client[link.client][link.node] = link
        self.poller.register(link.sock, select.EPOLLIN)

    def _expire(self) -> None:
        """Give up what has waited too long; looked at ten times a second."""
        now_s = time.monotonic()
        if now_s - self._looked_s < 0.1:
            return
        self._looked_s = now_s
        if self.heeds_stdin and select.select([sys.stdin], [], [], 0)[0]:
            self.told_to_end = True  # closed: whoever asked has gone or wants no more
        for link in [each for each in self.links.values() if each.ops]:
            if now_s - link.since_s > self.offer.timeout_s:
                self._lose(link, "no answer in time")
