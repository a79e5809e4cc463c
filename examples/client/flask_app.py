"""A Flask application with a two-tier cache: one `Cache` per process, used by all its threads.

HOLDFAST_PROFILE is the file that `holdfast env CACHE SERVICE --profile FILE` wrote, or a URL such as
valkey://localhost:6379. Start it: `flask --app flask_app run`. Works under gunicorn's prefork too, with --preload or without:
connections are made in each worker by its first call.
"""

from __future__ import annotations

import os
from typing import Any

from flask import Flask

from holdfast.client import Cache, declare


def opened() -> Cache:
    """The process's cache; nothing is connected yet."""
    where = os.environ["HOLDFAST_PROFILE"]
    if "://" in where:
        tariff = declare("product:info:{productCode}", ttl_s=7200, tier="l1+l2", lease_ms=2000)
        return Cache(where, namespaces={"product.info": tariff})
    return Cache.open(where)


cache = opened()
app = Flask(__name__)
asked: list[str] = []


@cache.cached("product.info")
def product(productCode: str) -> dict[str, Any]:  # noqa: N803
    """What the slow system of record says."""
    asked.append(productCode)
    return {"code": productCode, "monthlyFee": 69_000}


@app.get("/products/<code>")
def show(code: str) -> dict[str, Any]:
    """A tariff, from memory, from the cache or from the system of record, in this order."""
    return product(code)
