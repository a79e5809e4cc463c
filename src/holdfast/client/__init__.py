"""The applications' library: a two-tier cache that stays coherent, with keys and times to live that are declared.

    from holdfast.client import Cache

    cache = Cache.open("bill-inquiry.profile.json")
    bills = cache.namespace("bill.inquiry")
    bill = bills.get_or_load(load_bill, customerId="C1", month="202509")

`Cache` blocks, `AsyncCache` is for asyncio; both do the same by the same rules.
"""

from holdfast.client.async_cache import AsyncCache, AsyncNamespace
from holdfast.client.cache import Cache, Namespace
from holdfast.client.errors import (
    CacheClosed,
    CacheDenied,
    CacheError,
    CacheUnavailable,
    CommandRefused,
    KeyInvalid,
    NamespaceInvalid,
    NamespaceUnknown,
    NotWritable,
    ServerUnfit,
    ValueRefused,
    ValueUnreadable,
)
from holdfast.client.opening import declare
from holdfast.client.shared import Settings

__all__ = [
    "AsyncCache",
    "AsyncNamespace",
    "Cache",
    "CacheClosed",
    "CacheDenied",
    "CacheError",
    "CacheUnavailable",
    "CommandRefused",
    "KeyInvalid",
    "Namespace",
    "NamespaceInvalid",
    "NamespaceUnknown",
    "NotWritable",
    "ServerUnfit",
    "Settings",
    "ValueRefused",
    "ValueUnreadable",
    "declare",
]
