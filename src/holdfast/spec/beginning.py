"""The file that `holdfast init` writes: four lines that are a whole cache, with what to write next beside them."""

import re

from holdfast.spec.memory import MemorySpec
from holdfast.spec.units import size_text

LONGEST_NAME = 40


def name_from(folder: str) -> str:
    """A cache's name made of a folder's: `My Shop` -> `my-shop`; `cache` where nothing is left."""
    words = re.sub(r"[^a-z0-9]+", "-", folder.lower()).strip("-").lstrip("0123456789-")
    return words[:LONGEST_NAME].rstrip("-") or "cache"


def beginning(name: str) -> str:
    """The text of a new spec file."""
    maxmemory = size_text(MemorySpec().maxmemory_bytes)
    return f"""\
# One cache. Everything that is not written here has a default: holdfast spec show FILE prints the whole.
format: 1
cache: {{name: {name}}}
memory: {{maxmemory: {maxmemory}}}   # data that one node may hold
place: local                  # this machine

# What many write next:
#
# topology: {{mode: cluster, shards: 3, replicas: 1, zones: [a, b, c]}}
# services:
#   shop: {{namespaces: [shop.cart]}}
# keyspace:
#   namespaces:
#     shop.cart: {{pattern: "cart:{{userId}}", ttl: 4h, owner: shop}}
# promises: {{latency: 5ms, failover: 10s}}
#
# A full example: holdfast init --from phonebill. What may be written: docs/spec.md, holdfast spec schema.
"""
