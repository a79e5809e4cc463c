"""For FastAPI and Starlette: an application's cache lives as long as the application, and reaches its handlers.

app = FastAPI(lifespan=cache_lifespan(lambda: AsyncCache.open("bill-inquiry.profile.json")))

@app.get("/bills/{month}")
async def bill(month: str, cache: Annotated[AsyncCache, Depends(cache_of)]) -> Bill: ...
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from starlette.requests import HTTPConnection

from holdfast.client.async_cache import AsyncCache
from holdfast.errors import WrongUsage


def cache_lifespan(
    open_cache: Callable[[], AsyncCache],
    inner: Callable[[Any], AbstractAsyncContextManager[Any]] | None = None,
) -> Callable[[Any], AbstractAsyncContextManager[dict[str, Any]]]:
    """A lifespan that opens the cache, and closes it when the application ends.

    Args: `open_cache`, called once in each process; `inner`, a lifespan of the application's own, run inside this one.
    """

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
        async with open_cache() as cache:
            if inner is None:
                yield {"holdfast_cache": cache}
                return
            async with inner(app) as state:
                yield {"holdfast_cache": cache} | dict(state or {})

    return lifespan


def cache_of(connection: HTTPConnection) -> AsyncCache:
    """Dependency: the application's cache. Raises: WrongUsage when the lifespan is missing."""
    cache = getattr(connection.state, "holdfast_cache", None)
    if not isinstance(cache, AsyncCache):
        raise WrongUsage("this application has no cache", "give it lifespan=cache_lifespan(...)")
    return cache
