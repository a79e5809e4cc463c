"""Puts a cache's packet filter into force on this machine, takes it away, and says what is in force."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from holdfast.host.capability import CAP_NET_ADMIN, holds_capability
from holdfast.host.nftables import (
    FirewallRequest,
    digest,
    loopback_only,
    nft_removal,
    nft_ruleset,
    table_name,
)

NFT_BOUND_S = 10.0
"""nft answers in milliseconds; another program may hold the ruleset for a moment."""


@dataclass(frozen=True)
class Enforcement:
    """Whether `network.allow` holds on this machine."""

    enforced: bool
    how: str
    """`nftables`, `bind to loopback only`, `nothing declared` (an empty list keeps nobody out), or `no`."""
    why: str
    """One sentence for people."""
    refused_packets: int | None = None
    """Packets turned away since these rules came into force; None where none are."""
    possible: bool = True
    """Whether this machine's supervisor could set the filter at all."""


async def enforce(request: FirewallRequest, *, timeout_s: float = NFT_BOUND_S) -> Enforcement:
    """Let only `request.allow`, its peers and this machine itself reach the ports.

    What was in force for this cache before is replaced in one transaction. Never raises because a filter cannot be
    set: the answer says so, and what to do.
    Raises: FirewallRequestInvalid for addresses, ports or names that are none.
    """
    script = nft_ruleset(request)
    if needless := _needless(request):
        await remove(request.cache, timeout_s=timeout_s)  # rules of a time when it listened elsewhere
        return needless
    if lacking := what_lacks():
        return _not_enforced(request, lacking, possible=False)
    failed = await _nft(script, timeout_s)
    if failed:
        return _not_enforced(request, failed)
    return await status(request, timeout_s=timeout_s)


async def remove(cache: str, *, timeout_s: float = NFT_BOUND_S) -> bool:
    """Take the cache's filter away. Returns: whether none is in force any more, as far as this process may know."""
    script = nft_removal(cache)
    if what_lacks():
        return False
    return not await _nft(script, timeout_s)


async def status(request: FirewallRequest, *, timeout_s: float = NFT_BOUND_S) -> Enforcement:
    """What is in force now, seen in the kernel's own rules."""
    if needless := _needless(request):
        return needless
    if lacking := what_lacks():
        return _not_enforced(request, lacking, possible=False)
    code, listing = await _run("", "list", "table", "inet", table_name(request.cache), timeout_s=timeout_s)
    if code != 0:
        return _not_enforced(request, "no rules of this cache are in force")
    mark = re.search(r'counter packets (\d+) bytes \d+ drop comment "holdfast ([0-9a-f]{16})"', listing)
    if mark is None or mark.group(2) != digest(request):
        return _not_enforced(request, "the rules in force are not those of this spec")
    refused = int(mark.group(1))
    why = f"nftables lets {len(request.allow)} allowed networks and the cache's own nodes reach it; {refused} packets refused"
    return Enforcement(True, "nftables", why, refused)


def what_lacks() -> str:
    """What keeps this process from setting a filter; empty when nothing is known to."""
    if nft_program() is None:
        return "nftables is not installed (sudo apt-get install nftables)"
    if not may_filter():
        return "packet filters need root (CAP_NET_ADMIN)"
    return ""


def nft_program() -> str | None:
    """Where `nft` is; a user's PATH often leaves the system's folders out."""
    return shutil.which("nft", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin")))


def may_filter(status_file: Path = Path("/proc/self/status")) -> bool:
    """Whether this process may ask for a filter. In a container it may, and still not over its network: nft decides."""
    return holds_capability(CAP_NET_ADMIN, status_file)


def _needless(request: FirewallRequest) -> Enforcement | None:
    """The answer where no filter is wanted."""
    if loopback_only(request.bind):
        where = ", ".join(request.bind)
        return Enforcement(
            True, "bind to loopback only", f"{request.cache} listens on {where}: only this machine reaches it"
        )
    if not request.allow:
        return Enforcement(True, "nothing declared", "network.allow is empty: nobody is kept out by address")
    return None


def _not_enforced(request: FirewallRequest, reason: str, *, possible: bool = True) -> Enforcement:
    where = ", ".join(request.bind) or "every address"
    return Enforcement(
        False,
        "no",
        f"network.allow is not enforced on {where}: {reason}; passwords and TLS alone keep others out",
        possible=possible,
    )


async def _nft(script: str, timeout_s: float) -> str:
    """Run one script. Returns: what nft said where it failed, else empty."""
    code, said = await _run(script, "-f", "-", timeout_s=timeout_s)
    if code == 0:
        return ""
    return f"nft said: {' '.join(said.split())[:200] or f'exit code {code}'}"


async def _run(script: str, *arguments: str, timeout_s: float) -> tuple[int, str]:
    """One nft process, its script on stdin, bounded; stdout and stderr together."""
    program = nft_program()
    assert program is not None, "what_lacks() was asked before"
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
        )
    except OSError as failed:
        return 1, f"{program} could not be started: {failed.strerror}"
    try:
        async with asyncio.timeout(timeout_s):
            out, _ = await process.communicate(script.encode())
    except TimeoutError:
        return 1, f"no answer within {timeout_s:g} s"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, out.decode(errors="replace")
