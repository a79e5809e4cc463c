"""From a command's CACHE argument to the cache itself: spec file or name, its machines, its store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.errors import WrongUsage
from holdfast.spec.load import LoadedSpec
from holdfast.spec.place import PlaceKind
from holdfast.state import StateFolder
from holdfast.supervisor.client import SupervisorClient
from holdfast.supervisor.invitation import controller_trust
from holdfast.supervisor.launch import local_client, using
from holdfast.topology.hosts import NodeHost
from holdfast.topology.store import CacheStore

if TYPE_CHECKING:  # what only looks at a cache needs none of what plans and does
    from holdfast.topology.live import LiveCache
    from holdfast.topology.open import EngineWish
    from holdfast.topology.wanted import Manner


@dataclass(frozen=True)
class Named:
    """What a CACHE argument stands for."""

    loaded: LoadedSpec
    store: CacheStore
    state: StateFolder
    from_file: bool


def named(argument: str, place: str | None = None) -> Named:
    """The cache behind an argument: a spec file if there is such a file, else the name of a cache that is up.

    Raises: SpecInvalid, CacheUnknown, WrongUsage.
    """
    state = StateFolder.open()
    path = Path(argument)
    if path.is_file() or path.suffix in {".yaml", ".yml"} or "/" in argument:
        from holdfast.cli.specfile import load_file

        loaded = load_file(path, place)
        return Named(loaded, CacheStore(state, loaded.spec.cache.name), state, from_file=True)
    if place is not None:
        raise WrongUsage(
            f"--place is for spec files, and {argument} is the name of a cache",
            "name the file, or leave --place out",
        )
    store = CacheStore(state, argument)
    store.record()
    return Named(store.spec(), store, state, from_file=False)


@asynccontextmanager
async def machines(given: Named, *, start: bool) -> AsyncIterator[Mapping[str, NodeHost]]:
    """The machines of the cache, connected.

    Args: `start`, start this machine's own supervisor where it does not run.
    """
    place = given.loaded.spec.place
    clients: list[SupervisorClient] = []
    if place.kind is PlaceKind.LOCAL:
        clients.append(local_client(given.state))
    elif place.kind is PlaceKind.HOSTS:
        for name, host in sorted(place.hosts.items()):
            scheme, _, rest = host.supervisor.partition(":")
            if scheme == "unix":
                clients.append(SupervisorClient(name, Path(rest)))
            else:
                clients.append(
                    SupervisorClient(
                        name, str(host.supervisor), controller_trust(given.loaded.spec, given.store)
                    )
                )
    else:
        raise WrongUsage(
            f"place: {place.kind.value} is not run by Holdfast yet",
            "choose place: local or place: hosts to run it here",
        )
    async with AsyncExitStack() as stack:
        if start and place.kind is PlaceKind.LOCAL:
            await stack.enter_async_context(using(given.state))
        hosts: dict[str, NodeHost] = {}
        for client in clients:
            hosts[client.name] = await stack.enter_async_context(client)
        yield hosts


@asynccontextmanager
async def opened(
    given: Named, *, start: bool = True, wish: EngineWish | None = None, manner: Manner | None = None
) -> AsyncIterator[LiveCache]:
    """The cache with its machines, ready for plans and steps.

    Args: `wish`, which engine is wanted: by default the one it has; `manner`, how nodes are restarted: by default
        carefully.
    """
    from holdfast.topology.open import AS_IT_IS, open_cache
    from holdfast.topology.wanted import CAREFUL

    async with machines(given, start=start) as hosts:
        cache = await open_cache(given.loaded, given.store, hosts, wish or AS_IT_IS)
        cache.manner = manner or CAREFUL
        yield cache
