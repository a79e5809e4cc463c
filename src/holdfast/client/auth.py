"""A store of login tokens, worked out: written to the primary, read from replicas first, judged by the primary.

A token is found by its SHA-256, so whoever sees the keys has no token. Its owner is kept as a value: email, age, gender,
role and, where it is known, the address. Access tokens are found by many requests, so their owner may come from a
replica; whether one is valid is asked of the primary, for a revoked one must not pass for the lag of a replica. A
refresh token is good once: of two callers that use it at the same time, one gets new tokens.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from holdfast.client.async_cache import AsyncCache
from holdfast.client.cache import Cache
from holdfast.client.errors import ValueRefused
from holdfast.client.opening import declare

ACCESS, REFRESH = "auth.access", "auth.refresh"
AUTH_NAMESPACES: Final = {
    ACCESS: declare("access:{tokenHash}", ttl_s=1800, kind="session", read="replica_preferred"),
    REFRESH: declare("refresh:{tokenHash}", ttl_s=86_400, kind="session", read="replica_preferred"),
}
"""What the store needs, for a cache that is opened without a profile; in a spec, declare the same."""
LONGEST_TOKEN = 16_384


@dataclass(frozen=True)
class TokenOwner:
    """Whom a token was given to."""

    email: str
    age: int | None
    gender: str | None
    role: str
    ip: str | None = None


def token_hash(token: str) -> str:
    """What a token is found by. Raises: ValueRefused for what can be no token."""
    if not isinstance(token, str) or not token or len(token) > LONGEST_TOKEN:
        raise ValueRefused(ACCESS, f"a token is text of 1 to {LONGEST_TOKEN} characters")
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class AuthTokens:
    """The store for blocking applications. Errors are those of the cache: a token is never judged by guessing."""

    def __init__(self, cache: Cache) -> None:
        self._access = cache.namespace(ACCESS, TokenOwner)
        self._refresh = cache.namespace(REFRESH, TokenOwner)

    def add_access_token(self, token: str, owner: TokenOwner, expires_in_s: float | None = None) -> None:
        """Keep an access token. Args: `expires_in_s`, at most what is declared, which is also the default."""
        self._access.put(owner, ttl_s=expires_in_s, tokenHash=token_hash(token))

    def add_refresh_token(self, token: str, owner: TokenOwner, expires_in_s: float | None = None) -> None:
        """Keep a refresh token."""
        self._refresh.put(owner, ttl_s=expires_in_s, tokenHash=token_hash(token))

    def owner_by_access_token(self, token: str) -> TokenOwner | None:
        """Whose token it is, a replica being asked first; None for one that is unknown or has ended."""
        return self._access.get(tokenHash=token_hash(token))

    def email_by_access_token(self, token: str) -> str | None:
        """The email alone."""
        owner = self.owner_by_access_token(token)
        return owner.email if owner is not None else None

    def owner_by_refresh_token(self, token: str) -> TokenOwner | None:
        """Whose refresh token it is."""
        return self._refresh.get(tokenHash=token_hash(token))

    def is_access_token_valid(self, token: str) -> bool:
        """Whether it is good now, as the primary says."""
        return self._access.exists(tokenHash=token_hash(token), read="primary")

    def is_refresh_token_valid(self, token: str) -> bool:
        """The same of a refresh token."""
        return self._refresh.exists(tokenHash=token_hash(token), read="primary")

    def revoke_access_token(self, token: str) -> bool:
        """End a token. Returns: whether it was good until now."""
        return self._access.delete(tokenHash=token_hash(token))

    def revoke_refresh_token(self, token: str) -> bool:
        """The same of a refresh token."""
        return self._refresh.delete(tokenHash=token_hash(token))

    def refresh(self, refresh_token: str, new_access_token: str, new_refresh_token: str) -> TokenOwner | None:
        """Spend a refresh token for two new ones. Returns: their owner; None when it is not good (any more)."""
        owner = self._refresh.get(tokenHash=token_hash(refresh_token), read="primary")
        if owner is None or not self.revoke_refresh_token(refresh_token):
            return None
        self.add_access_token(new_access_token, owner)
        self.add_refresh_token(new_refresh_token, owner)
        return owner


class AsyncAuthTokens:
    """The store for asyncio, with the same names."""

    def __init__(self, cache: AsyncCache) -> None:
        self._access = cache.namespace(ACCESS, TokenOwner)
        self._refresh = cache.namespace(REFRESH, TokenOwner)

    async def add_access_token(
        self, token: str, owner: TokenOwner, expires_in_s: float | None = None
    ) -> None:
        """Keep an access token. Args: `expires_in_s`, at most what is declared, which is also the default."""
        await self._access.put(owner, ttl_s=expires_in_s, tokenHash=token_hash(token))

    async def add_refresh_token(
        self, token: str, owner: TokenOwner, expires_in_s: float | None = None
    ) -> None:
        """Keep a refresh token."""
        await self._refresh.put(owner, ttl_s=expires_in_s, tokenHash=token_hash(token))

    async def owner_by_access_token(self, token: str) -> TokenOwner | None:
        """Whose token it is, a replica being asked first; None for one that is unknown or has ended."""
        return await self._access.get(tokenHash=token_hash(token))

    async def email_by_access_token(self, token: str) -> str | None:
        """The email alone."""
        owner = await self.owner_by_access_token(token)
        return owner.email if owner is not None else None

    async def owner_by_refresh_token(self, token: str) -> TokenOwner | None:
        """Whose refresh token it is."""
        return await self._refresh.get(tokenHash=token_hash(token))

    async def is_access_token_valid(self, token: str) -> bool:
        """Whether it is good now, as the primary says."""
        return await self._access.exists(tokenHash=token_hash(token), read="primary")

    async def is_refresh_token_valid(self, token: str) -> bool:
        """The same of a refresh token."""
        return await self._refresh.exists(tokenHash=token_hash(token), read="primary")

    async def revoke_access_token(self, token: str) -> bool:
        """End a token. Returns: whether it was good until now."""
        return await self._access.delete(tokenHash=token_hash(token))

    async def revoke_refresh_token(self, token: str) -> bool:
        """The same of a refresh token."""
        return await self._refresh.delete(tokenHash=token_hash(token))

    async def refresh(
        self, refresh_token: str, new_access_token: str, new_refresh_token: str
    ) -> TokenOwner | None:
        """Spend a refresh token for two new ones. Returns: their owner; None when it is not good (any more)."""
        owner = await self._refresh.get(tokenHash=token_hash(refresh_token), read="primary")
        if owner is None or not await self.revoke_refresh_token(refresh_token):
            return None
        await self.add_access_token(new_access_token, owner)
        await self.add_refresh_token(new_refresh_token, owner)
        return owner
