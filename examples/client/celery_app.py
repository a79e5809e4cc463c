"""Celery tasks that share the cache with the web application: one load for all workers.

Opened at import: Celery forks its workers afterwards, and each makes its own connections with its first call. Start it:
`celery --app celery_app worker`.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery

from holdfast.client import Cache, declare

app = Celery("bills", broker=os.environ.get("CELERY_BROKER", "memory://"), backend="cache+memory://")
cache = Cache(
    os.environ["HOLDFAST_URL"],
    namespaces={"bill.inquiry": declare("bill:inquiry:{customerId}:{month}", ttl_s=3600, lease_ms=5000)},
)
bills = cache.namespace("bill.inquiry")


@app.task  # type: ignore[untyped-decorator,unused-ignore]
def prepare(customer_id: str, month: str) -> dict[str, Any]:
    """Have a bill ready before its owner asks for it."""
    made = bills.get_or_load(reckon, customerId=customer_id, month=month)
    assert made is not None
    return made


def reckon(customerId: str, month: str) -> dict[str, Any]:  # noqa: N803
    """What takes long."""
    return {"customer": customerId, "month": month, "total": 72_000}
