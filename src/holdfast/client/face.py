"""What both faces have in common: how a cache is opened, and what needs nobody to be asked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

from holdfast.client.health import Health, health_of
from holdfast.client.login import Credentials
from holdfast.client.opening import Source, profile_of_url
from holdfast.client.shared import OWN_WRITES, Namespaces, Settings, Shared
from holdfast.client.verbs import Verbs
from holdfast.profile import Profile


class HasShared(Protocol):
    """An edge, as far as this module needs it."""

    shared: Shared


E = TypeVar("E", bound=HasShared)


class Face(Generic[E]):
    """An application's cache: a first tier in this process, coherent, over the second on the servers.

    Opening connects to nothing; the first call does.
    """

    _edge: E

    def __init__(
        self,
        url: str,
        *,
        namespaces: Namespaces | Mapping[str, Mapping[str, Any]],
        settings: Settings | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        """Without a profile.

        Args: `url`, `valkey[s][+MODE]://[user[:password]@]host:port[,host:port...]`; `namespaces`, by name, from
            `declare(...)` or the same words in a mapping; `credentials`, called for each new connection, returns user and
            password. Raises: WrongUsage, NamespaceInvalid.
        """
        profile, password = profile_of_url(url, namespaces)
        user = profile.user
        source = Source(profile, credentials or (lambda: (user, password)))
        self._edge = self._edge_of(source, settings or Settings())

    @classmethod
    def open(
        cls,
        profile: str | Path | Profile,
        *,
        settings: Settings | None = None,
        credentials: Credentials | None = None,
    ) -> Self:
        """From a profile or its file, as `holdfast env CACHE SERVICE --profile FILE` writes it. A file that is written
        anew is followed: where the cache is and who this service is there. Raises: ProfileInvalid, NamespaceInvalid."""
        made = cls.__new__(cls)
        made._edge = cls._edge_of(Source.of(profile, credentials), settings or Settings())
        return made

    @staticmethod
    def _edge_of(source: Source, settings: Settings) -> E:
        raise AssertionError("each face has its own")

    def _verbs_of(self, name: str, kind: Any, codec: str) -> Verbs:
        """Raises: NamespaceUnknown, NamespaceInvalid."""
        return Verbs.of(self._edge.shared, name, kind, "bytes" if kind is bytes else codec)

    @contextlib.contextmanager
    def own_writes(self) -> Iterator[None]:
        """Within it, whoever runs here reads its own writes: a key that it wrote is read from a replica only once that
        is known to have the write."""
        outer = OWN_WRITES.set({})
        try:
            yield
        finally:
            OWN_WRITES.reset(outer)

    def health(self) -> Health:
        """What this process knows of the cache now; asks nobody."""
        return health_of(self._edge.shared)

    @property
    def shared(self) -> Shared:
        """What exporters of figures read."""
        return self._edge.shared
