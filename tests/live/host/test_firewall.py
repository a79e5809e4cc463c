"""The packet filter in force: two network namespaces of the test's own, and real connections between them."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.host import firewall
from holdfast.host.nftables import FirewallRequest

PORT, OTHER_PORT = 6379, 8080
REFUSED_AFTER_S = 0.5
"""The filter drops; a connection within one veth pair is otherwise made in microseconds."""

CALL = """
import asyncio, dataclasses, json, sys
from holdfast.host import firewall
from holdfast.host.nftables import FirewallRequest
verb, fields = json.loads(sys.argv[1])
request = FirewallRequest(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})
if verb == "remove":
    print(json.dumps(asyncio.run(firewall.remove(request.cache))))
else:
    print(json.dumps(dataclasses.asdict(asyncio.run(getattr(firewall, verb)(request)))))
"""
LISTEN = """
import socket, sys, threading
def accept(listener):
    while True:
        connection, _ = listener.accept()
        connection.sendall(b"here")
        connection.close()
for host, family in (("0.0.0.0", socket.AF_INET), ("::", socket.AF_INET6)):
    for port in map(int, sys.argv[1:]):
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        listener.listen()
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
print("listening", flush=True)
sys.stdin.read()
"""
CONNECT = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[4]), source_address=(sys.argv[3], 0)) as made:
        print(made.recv(4).decode())
except OSError as failed:
    print(type(failed).__name__)
"""


@dataclass(frozen=True)
class Pair:
    """Two namespaces: `server` (10.99.0.1, fd99::1) and `client` (10.99.0.2, .3, fd99::2)."""

    server: str
    client: str

    def firewall(self, verb: str, request: FirewallRequest) -> dict[str, object]:
        said = run(
            "ip", "netns", "exec", self.server, sys.executable, "-c", CALL,
            json.dumps([verb, dataclasses.asdict(request)]),
        )  # fmt: skip
        answer = json.loads(said)
        return answer if isinstance(answer, dict) else {"removed": answer}

    def reaches(self, target: str, port: int, source: str, *, within: str | None = None) -> bool:
        said = run(
            "ip", "netns", "exec", within or self.client, sys.executable, "-c", CONNECT,
            target, str(port), source, str(REFUSED_AFTER_S),
        )  # fmt: skip
        assert said in {"here", "TimeoutError"}, said
        return said == "here"


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{command[:4]}: {done.stderr}"
    return done.stdout.strip()


@pytest.fixture
def pair() -> Iterator[Pair]:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces")
    for program in ("ip", "nft"):
        if shutil.which(program, path="/usr/sbin:/sbin:/usr/bin:/bin") is None:
            pytest.skip(f"needs `{program}`")
    made = Pair(f"hf{os.getpid()}s", f"hf{os.getpid()}c")
    tried = subprocess.run(["ip", "netns", "add", made.server], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"needs the right to make a network namespace: {tried.stderr.strip()}")
    try:
        run("ip", "netns", "add", made.client)
        run(
            "ip",
            "-n",
            made.server,
            "link",
            "add",
            "veth0",
            "type",
            "veth",
            "peer",
            "name",
            "veth0",
            "netns",
            made.client,
        )
        for namespace, addresses in (
            (made.server, ("10.99.0.1/24", "fd99::1/64")),
            (made.client, ("10.99.0.2/24", "10.99.0.3/24", "fd99::2/64", "fd99::3/64")),
        ):
            for address in addresses:
                nodad = ("nodad",) if ":" in address else ()
                run("ip", "-n", namespace, "address", "add", address, "dev", "veth0", *nodad)
            run("ip", "-n", namespace, "link", "set", "lo", "up")
            run("ip", "-n", namespace, "link", "set", "veth0", "up")
        listener = subprocess.Popen(
            ["ip", "netns", "exec", made.server, sys.executable, "-c", LISTEN, str(PORT), str(OTHER_PORT)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert listener.stdout is not None
            assert listener.stdout.readline().strip() == "listening"
            yield made
        finally:
            listener.kill()
            listener.communicate(timeout=10)
    finally:
        for namespace in (made.server, made.client):
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)


def asked(allow: tuple[str, ...], peers: tuple[str, ...] = ()) -> FirewallRequest:
    return FirewallRequest("walled-in", (PORT,), allow, peers, ("0.0.0.0",))


def test_the_allowed_address_connects_and_the_other_is_refused(pair: Pair) -> None:
    assert pair.reaches("10.99.0.1", PORT, "10.99.0.3"), "before the filter everyone connects"
    said = pair.firewall("enforce", asked(("10.99.0.2",)))
    assert (said["enforced"], said["how"]) == (True, "nftables")
    assert pair.reaches("10.99.0.1", PORT, "10.99.0.2")
    assert not pair.reaches("10.99.0.1", PORT, "10.99.0.3")
    assert not pair.reaches("fd99::1", PORT, "fd99::2"), "IPv6 is held against the same list"
    assert pair.reaches("10.99.0.1", OTHER_PORT, "10.99.0.3"), "other ports are none of ours"
    assert pair.reaches("10.99.0.1", PORT, "10.99.0.1", within=pair.server), (
        "the machine reaches its own nodes"
    )
    refused = pair.firewall("status", asked(("10.99.0.2",)))["refused_packets"]
    assert isinstance(refused, int)
    assert refused >= 2


def test_a_changed_list_replaces_the_old_one_and_removing_opens_the_ports(pair: Pair) -> None:
    pair.firewall("enforce", asked(("10.99.0.2",)))
    changed = asked(("10.99.0.3-10.99.0.9", "fd99::2/128"))
    assert pair.firewall("status", changed)["enforced"] is False, "the rules in force are of the older list"
    assert pair.firewall("enforce", changed)["enforced"] is True
    assert pair.firewall("enforce", changed)["enforced"] is True, "again changes nothing"
    assert not pair.reaches("10.99.0.1", PORT, "10.99.0.2")
    assert pair.reaches("10.99.0.1", PORT, "10.99.0.3")
    assert pair.reaches("fd99::1", PORT, "fd99::2")
    assert not pair.reaches("fd99::1", PORT, "fd99::3")
    assert pair.firewall("remove", changed) == {"removed": True}
    assert pair.firewall("remove", changed) == {"removed": True}, "removing what is not there is no failure"
    assert pair.firewall("status", changed)["enforced"] is False
    assert pair.reaches("10.99.0.1", PORT, "10.99.0.2")


def test_peers_come_in_and_the_bus_is_theirs_alone(pair: Pair) -> None:
    wanted = FirewallRequest(
        "walled-in", (PORT, OTHER_PORT), ("10.99.0.2",), ("10.99.0.3",), ("0.0.0.0",), (OTHER_PORT,)
    )
    assert pair.firewall("enforce", wanted)["enforced"] is True
    assert pair.reaches("10.99.0.1", PORT, "10.99.0.2")
    assert pair.reaches("10.99.0.1", PORT, "10.99.0.3")
    assert not pair.reaches("10.99.0.1", OTHER_PORT, "10.99.0.2")
    assert pair.reaches("10.99.0.1", OTHER_PORT, "10.99.0.3")


def test_loopback_alone_takes_the_filter_away_again(pair: Pair) -> None:
    pair.firewall("enforce", asked(("10.99.0.2",)))
    said = pair.firewall("enforce", dataclasses.replace(asked(("10.99.0.2",)), bind=("127.0.0.1",)))
    assert (said["enforced"], said["how"]) == (True, "bind to loopback only")
    listed = run("ip", "netns", "exec", pair.server, "nft", "list", "tables")
    assert "holdfast_walled_in" not in listed


def test_where_no_filter_may_be_set_the_answer_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firewall, "nft_program", lambda: None)
    said = asyncio.run(firewall.enforce(asked(("10.0.0.0/8",))))
    assert (said.enforced, said.how) == (False, "no")
    assert "nftables is not installed" in said.why
    monkeypatch.setattr(firewall, "nft_program", lambda: "/nonexistent/nft")
    monkeypatch.setattr(firewall, "may_filter", lambda: False)
    said = asyncio.run(firewall.enforce(asked(("10.0.0.0/8",))))
    assert "need root" in said.why
    monkeypatch.setattr(firewall, "may_filter", lambda: True)
    said = asyncio.run(firewall.enforce(asked(("10.0.0.0/8",))))
    assert "/nonexistent/nft could not be started" in said.why


def test_the_kernels_refusal_is_passed_on() -> None:
    """A process may hold the capability in a user namespace of its own and still not over the network it is in."""
    if shutil.which("unshare") is None:
        pytest.skip("needs `unshare`")
    wanted = asked(("10.0.0.0/8",))
    tried = subprocess.run(
        ["unshare", "--user", "--map-root-user", sys.executable, "-c", CALL, json.dumps(["enforce", dataclasses.asdict(wanted)])],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    if tried.returncode != 0 and "unshare" in tried.stderr:
        pytest.skip(f"needs a user namespace: {tried.stderr.strip()}")
    said = json.loads(tried.stdout)
    assert (said["enforced"], said["how"]) == (False, "no")
    assert "nft said" in said["why"] or "not installed" in said["why"]


async def test_an_nft_that_hangs_is_given_up_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = tmp_path / "nft"
    stuck.write_text("#!/bin/sh\nexec sleep 60\n")
    stuck.chmod(0o700)
    monkeypatch.setattr(firewall, "nft_program", lambda: str(stuck))
    monkeypatch.setattr(firewall, "may_filter", lambda: True)
    said = await firewall.enforce(asked(("10.0.0.0/8",)), timeout_s=0.2)
    assert "no answer within 0.2 s" in said.why


def test_an_empty_list_keeps_nobody_out() -> None:
    request = FirewallRequest("open", (PORT,), (), (), ("0.0.0.0",))
    said = asyncio.run(firewall.status(request))
    assert said.how == "nothing declared"
