"""Finds ports that nobody on this machine listens on and that are promised to no node."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from holdfast.errors import HoldfastError

FIRST = 7100
LAST = 55535
"""Highest port whose bus port, 10000 above it, still exists."""
BUS = 10_000


@dataclass(eq=False)
class NoFreePorts(HoldfastError):
    """Not enough ports are free in the range that was searched."""

    count: int
    first: int

    def __str__(self) -> str:
        return (
            f"fewer than {self.count} ports are free from {self.first} on; nothing was started: free some "
            "(`ss -ltn` shows who listens), or ask for others with topology.port"
        )


@dataclass(eq=False)
class AddressNotHere(HoldfastError):
    """The machine does not have the address that a node is to listen on."""

    address: str
    words: str

    def __str__(self) -> str:
        return (
            f"this machine cannot listen on {self.address} ({self.words}); nothing was started: put an address of "
            "this machine into network.bind (`ip -br address` lists them; IPv6 loopback is ::1)"
        )


def first_port(environ: Mapping[str, str]) -> int:
    """Where the search begins when a spec names no port: HOLDFAST_FIRST_PORT, so that several state folders on one
    machine need not look at the same ports at the same moment; else FIRST.
    """
    named = environ.get("HOLDFAST_FIRST_PORT", "")
    return int(named) if named.isdigit() and 0 < int(named) <= LAST else FIRST


def free_ports(
    addresses: Sequence[str], count: int, first: int, promised: Iterable[int], *, cluster: bool
) -> tuple[int, ...]:
    """`count` ports, ascending, free on all of the addresses at this moment.

    Args: `promised`, ports to leave alone though nobody listens there yet; `cluster`, the bus port must be free too.
    Raises: NoFreePorts, AddressNotHere.
    """
    taken = set(promised)
    found: list[int] = []
    for port in range(first, LAST + 1):
        if port in taken or not _free(addresses, port) or (cluster and not _free(addresses, port + BUS)):
            continue
        found.append(port)
        if len(found) == count:
            return tuple(found)
    raise NoFreePorts(count, first)


def _free(addresses: Sequence[str], port: int) -> bool:
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(
                socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
            )  # as the engines do: TIME_WAIT is no matter
            try:
                trial.bind((address, port))
            except PermissionError:
                return False
            except OSError as failed:
                if failed.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                    raise AddressNotHere(address, failed.strerror or str(failed)) from failed
                return False
    return True
