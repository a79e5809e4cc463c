"""A Django cache backend: two tiers, coherent between processes.

    CACHES = {
        "default": {
            "BACKEND": "holdfast.client.django.HoldfastCache",
            "LOCATION": "/etc/shop/shop.profile.json",        # or valkey://…, with a PATTERN
            "OPTIONS": {"namespace": "shop.django"},          # declared as django:{key}
        }
    }

The namespace's pattern has one field, which takes Django's own keys. Values are JSON; OPTIONS {"values": "pickle"} keeps
any object, as Django's response cache needs: then whoever can write to the cache can run code in the application.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from holdfast.client.cache import Cache
from holdfast.client.errors import KeyInvalid
from holdfast.client.opening import declare
from holdfast.errors import Refused, WrongUsage

PATTERN = "django:{key}"
NAMESPACE = "django"


class HoldfastCache(BaseCache):  # type: ignore[misc]
    """Django's cache interface over one namespace; safe to be shared by threads. A timeout of None, or one beyond the
    namespace's TTL, means the namespace's TTL: nothing here lives for ever unless that is declared."""

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        options: dict[str, Any] = params.get("OPTIONS", {})
        name = options.get("namespace", NAMESPACE)
        values = options.get("values", "json")
        if values not in ("json", "pickle"):
            raise WrongUsage(f'OPTIONS["values"] is {values!r}', "write json or pickle")
        self._pickles = values == "pickle"
        if "://" in location:
            ttl_s = options.get("ttl_s", 86_400)
            tier = options.get("tier", "l1+l2")
            declared = declare(options.get("pattern", PATTERN), ttl_s=ttl_s, tier=tier)
            self._cache = Cache(location, namespaces={name: declared})
        else:
            self._cache = Cache.open(location)
        self._values = self._cache.namespace(name, bytes if self._pickles else None)
        fields = self._cache.shared.families[name].pattern.fields
        if len(fields) != 1:
            raise WrongUsage(
                f"the keys of {name} have the fields {', '.join(fields)}", "use one with a single field"
            )
        self._field = fields[0]
        self._longest_s = self._cache.shared.families[name].declared.ttl_s

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        found = self._values.get(self._key(key, version))
        return default if found is None else self._opened(found)

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        ready = self._key(key, version)
        if self._ends_at_once(timeout):
            self._values.delete(ready)
        else:
            self._values.put(self._packed(value), ready, ttl_s=self._ttl_s(timeout))

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        ready = self._key(key, version)
        if self._ends_at_once(timeout):
            return not self._values.exists(ready)
        return self._values.add(self._packed(value), ready, ttl_s=self._ttl_s(timeout))

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        ready = self._key(key, version)
        if self._ends_at_once(timeout):
            return self._values.delete(ready)
        return self._values.touch(ready, ttl_s=self._ttl_s(timeout))

    def delete(self, key: Any, version: int | None = None) -> bool:
        return self._values.delete(self._key(key, version))

    def has_key(self, key: Any, version: int | None = None) -> bool:
        return self._values.exists(self._key(key, version))

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        if self._pickles:
            return int(super().incr(key, delta, version))
        ready = self._key(key, version)
        if not self._values.exists(ready, read="primary"):
            raise ValueError(f"Key '{key}' not found")
        return self._values.increment(ready, by=delta)

    def get_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        ready = {self._key(key, version): key for key in keys}
        return {ready[found]: self._opened(value) for found, value in self._values.get_many(ready).items()}

    def set_many(
        self, data: Mapping[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[Any]:
        if self._ends_at_once(timeout):
            self.delete_many(data, version)
        else:
            items = {self._key(key, version): self._packed(value) for key, value in data.items()}
            self._values.put_many(items, ttl_s=self._ttl_s(timeout))
        return []

    def delete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        self._values.delete_many([self._key(key, version) for key in keys])

    async def aget(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        return await asyncio.to_thread(self.get, key, default, version)

    def clear(self) -> None:
        """Raises: Refused. A service may not list the keys of a cache that it shares."""
        raise Refused(
            "clearing a shared cache",
            "a service may not list its keys",
            "Raise CACHES VERSION, which makes all keys new",
        )

    def close(self, **kwargs: Any) -> None:
        """Nothing at the end of a request: connections are kept for the next."""

    def _key(self, key: Any, version: int | None) -> str:
        made = self.make_and_validate_key(key, version=version)
        try:
            return self._values.key(**{self._field: quote(made, safe="")})
        except KeyInvalid as wrong:
            raise ValueError(str(wrong)) from wrong

    def _packed(self, value: Any) -> Any:
        if self._pickles:
            return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        return {"none": True} if value is None else value

    def _opened(self, found: Any) -> Any:
        if self._pickles:
            return pickle.loads(found)  # noqa: S301 - the application chose it, knowing who writes to its cache
        return None if found == {"none": True} else found

    def _ttl_s(self, timeout: Any) -> float | None:
        seconds = self.default_timeout if timeout is DEFAULT_TIMEOUT else timeout
        if seconds is None or (self._longest_s is not None and seconds > self._longest_s):
            return None
        return float(seconds)

    def _ends_at_once(self, timeout: Any) -> bool:
        seconds = self.default_timeout if timeout is DEFAULT_TIMEOUT else timeout
        return seconds is not None and seconds <= 0
