"""The asyncio face: `AsyncCache` and its namespaces, with the names of the blocking one."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterable, Mapping
from time import monotonic
from typing import Any, Generic, Self, TypeVar, overload

from holdfast.client.asyncio_edge import AsyncioEdge, TaskFlight
from holdfast.client.calls import ReadFrom
from holdfast.client.decorated import fields_of
from holdfast.client.errors import CacheError
from holdfast.client.face import Face
from holdfast.client.hits import compiled, decorated
from holdfast.client.values import MAGIC
from holdfast.client.verbs import Verbs

T = TypeVar("T")
R = TypeVar("R")


class AsyncNamespace(Generic[T]):
    """One declared family of keys. Made by `Cache.namespace`; used in the loop of its cache.

    Every method takes the key as its fields by keyword, or ready as its only positional argument (see `key`). Errors:
    KeyInvalid and ValueRefused before anything is sent; CacheUnavailable when no node did it within `within_s` (default:
    the profile's command timeout); CacheDenied when the cache refuses the user.
    Values from the first tier are shared between callers: do not change them in place.
    """

    def __init__(self, edge: AsyncioEdge, verbs: Verbs) -> None:
        self._edge, self._verbs = edge, verbs
        # With the fields as parameters, and the first tier looked into; what is written below is for what is not there.
        self.get = compiled(verbs, self.get)  # type: ignore[method-assign]
        self.get_or_load = compiled(verbs, self.get_or_load)  # type: ignore[method-assign]

    @property
    def name(self) -> str:
        return self._verbs.family.name

    def key(self, **fields: object) -> str:
        """The key of these fields, ready to be used again. Raises: KeyInvalid."""
        return self._verbs.key(None, fields)

    async def get(
        self,
        key: str | None = None,
        /,
        *,
        read: ReadFrom | None = None,
        within_s: float | None = None,
        **fields: object,
    ) -> T | None:
        """The value, or None where there is none.

        Args: `read`, where to read from this time: primary, replica_preferred, replica or nearest. Said here, it also
            passes the first tier by.
        """
        ready = self._verbs.key(key, fields)
        if read is None and within_s is None and (node := self._verbs.plain_node()) is not None:
            began = monotonic()
            soon = self._edge.get_soon(node, ready)
            if soon is not None:
                try:
                    raw = await soon
                except CacheError as failed:  # the policy below decides what to do about it
                    within_s = self._verbs.time_left(node, began, failed)
                else:
                    if raw is None or (raw.__class__ is bytes and raw[:2] != MAGIC):
                        return self._verbs.plain_value(ready, raw)  # type: ignore[no-any-return]
        return await self._edge.run(self._verbs.get(ready, read, within_s))  # type: ignore[no-any-return]

    async def get_or_load(
        self,
        loader: Callable[..., T | Awaitable[T | None] | None],
        key: str | None = None,
        /,
        *,
        read: ReadFrom | None = None,
        within_s: float | None = None,
        **fields: object,
    ) -> T | None:
        """The value; where there is none, what `loader` returns for the key's fields (as text, by keyword), which is kept. A coroutine function is
        awaited; a plain one runs in a thread, so that it may block.

        At most one load runs per key and process, and per key in all where the namespace declares a lease. The cache's
        own failures do not reach the caller: the loader is called then. What the loader raises does, unless an older
        value may still be served. None from the loader means that there is no such thing.
        """
        ready = self._verbs.key(key, fields)
        return await self._edge.run(self._verbs.get_or_load(loader, ready, read, within_s, TaskFlight))  # type: ignore[no-any-return]

    async def put(
        self,
        value: T,
        key: str | None = None,
        /,
        *,
        ttl_s: float | str | None = None,
        within_s: float | None = None,
        **fields: object,
    ) -> None:
        """Keep a value.

        Args: `ttl_s`, seconds up to those declared, or the name of a shorter TTL that the spec declares.
        """
        ready = self._verbs.key(key, fields)
        await self._edge.run(self._verbs.put(ready, value, ttl_s, within_s))

    async def add(
        self,
        value: T,
        key: str | None = None,
        /,
        *,
        ttl_s: float | str | None = None,
        within_s: float | None = None,
        **fields: object,
    ) -> bool:
        """Keep a value where there is none. Returns: whether it was kept."""
        ready = self._verbs.key(key, fields)
        return bool(await self._edge.run(self._verbs.put(ready, value, ttl_s, within_s, "NX")))

    async def delete(
        self, key: str | None = None, /, *, within_s: float | None = None, **fields: object
    ) -> bool:
        """Remove a key. Returns: whether there was one."""
        return bool(await self._edge.run(self._verbs.delete(self._verbs.key(key, fields), within_s)))

    async def touch(
        self,
        key: str | None = None,
        /,
        *,
        ttl_s: float | str | None = None,
        within_s: float | None = None,
        **fields: object,
    ) -> bool:
        """Give a key its TTL anew, as for a session that is in use. Returns: whether there was one."""
        ready = self._verbs.key(key, fields)
        return bool(await self._edge.run(self._verbs.touch(ready, ttl_s, within_s)))

    async def increment(
        self,
        key: str | None = None,
        /,
        *,
        by: int = 1,
        ttl_s: float | str | None = None,
        within_s: float | None = None,
        **fields: object,
    ) -> int:
        """Count up; the first count begins at 0 and gives the key its TTL. Returns: the number it is now."""
        ready = self._verbs.key(key, fields)
        return int(await self._edge.run(self._verbs.increment(ready, by, ttl_s, within_s)))

    async def exists(
        self,
        key: str | None = None,
        /,
        *,
        read: ReadFrom | None = None,
        within_s: float | None = None,
        **fields: object,
    ) -> bool:
        """Whether the cache has the key."""
        return bool(await self._edge.run(self._verbs.exists(self._verbs.key(key, fields), read, within_s)))

    async def ttl_s(
        self, key: str | None = None, /, *, within_s: float | None = None, **fields: object
    ) -> float | None:
        """Seconds that the key has left, as its primary says; inf: no end; None: no such key."""
        return await self._edge.run(self._verbs.ttl_s(self._verbs.key(key, fields), within_s))  # type: ignore[no-any-return]

    async def get_many(
        self, keys: Iterable[str], *, read: ReadFrom | None = None, within_s: float | None = None
    ) -> dict[str, T]:
        """The values of many ready keys, in few requests; keys that are not there are not in it."""
        return await self._edge.run(self._verbs.get_many(keys, read, within_s))  # type: ignore[no-any-return]

    async def put_many(
        self, items: Mapping[str, T], *, ttl_s: float | str | None = None, within_s: float | None = None
    ) -> None:
        """Keep many values by ready keys, in pipelines. When it fails, some may have been kept."""
        await self._edge.run(self._verbs.put_many(items, ttl_s, within_s))

    async def delete_many(self, keys: Iterable[str], *, within_s: float | None = None) -> int:
        """Remove many ready keys, in pipelines. Returns: how many there were."""
        return int(await self._edge.run(self._verbs.delete_many(keys, within_s)))


class AsyncCache(Face[AsyncioEdge]):
    """An application's cache: a first tier in this process, coherent, over the second on the servers; the asyncio face.

    Opening connects to nothing; the first call does, and binds it to the event loop that it is made in.
    """

    _edge_of = staticmethod(AsyncioEdge)

    @overload
    def namespace(self, name: str) -> AsyncNamespace[Any]: ...
    @overload
    def namespace(self, name: str, kind: type[R], *, codec: str = ...) -> AsyncNamespace[R]: ...
    @overload
    def namespace(self, name: str, kind: None = ..., *, codec: str = ...) -> AsyncNamespace[Any]: ...
    def namespace(self, name: str, kind: Any = None, *, codec: str = "json") -> AsyncNamespace[Any]:
        """A declared namespace.

        Args: `kind`, what values are made into: a pydantic model, a dataclass or a plain type; None: what JSON gives.
            `codec`: json, msgpack or bytes.
        Raises: NamespaceUnknown, NamespaceInvalid.
        """
        return AsyncNamespace(self._edge, self._verbs_of(name, kind, codec))

    def cached(
        self, name: str, *, codec: str = "json"
    ) -> Callable[[Callable[..., Awaitable[R]]], Callable[..., Awaitable[R]]]:
        """Decorate a coroutine function whose parameters are the key's fields: it is called only when both tiers have no value.

        Its annotated return type says what values are made into. The decorated function has `.namespace`, to delete
        what has changed. Raises: NamespaceUnknown, NamespaceInvalid.
        """

        def decorate(function: Callable[..., Awaitable[R]]) -> Callable[..., Awaitable[R]]:
            verbs = self._verbs_of(name, None, codec)
            taken, returned = fields_of(verbs, function)
            kept: AsyncNamespace[Any] = self.namespace(name, returned, codec=codec)

            @functools.wraps(function)
            async def through_cache(*args: Any, **kwargs: Any) -> R:
                fields = taken(*args, **kwargs)

                async def load(**_: Any) -> Any:
                    return await function(*args, **kwargs)

                return await kept.get_or_load(load, verbs.key(None, fields))  # type: ignore[return-value]

            made: Any = decorated(kept._verbs, function, through_cache)
            made.namespace = kept
            return made  # type: ignore[no-any-return]

        return decorate

    async def close(self) -> None:
        """End connections and the watcher; calls afterwards raise CacheClosed."""
        await self._edge.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *told: object) -> None:
        await self.close()
