"""The supervisor's HTTP face: each request is one call of the nodes' keeper; a refusal is its sentence."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from holdfast.engine.catalog import survey
from holdfast.errors import HoldfastError
from holdfast.host import firewall
from holdfast.supervisor import protocol
from holdfast.supervisor.keeper import Keeper
from holdfast.supervisor.refusals import NameNotAllowed, NoSuchNode

Answer = Callable[[Request], Awaitable[Any]]
Handler = Callable[[Request], Awaitable[Response]]


def application(keeper: Keeper, leave: Callable[[], None]) -> Starlette:
    """The HTTP application.

    Args: `leave`, called when the process is asked to end.
    """

    async def host(_: Request) -> Any:
        return protocol.facts_to_json(keeper.facts())

    async def engines(request: Request) -> Any:
        path = (await request.json()).get("path")
        seen = await asyncio.to_thread(survey, keeper.state.engines, keeper.environ, path)
        keeper.remember(seen.found)
        return {
            "found": [build.to_json() for build in seen.found],
            "broken": [broken.to_json() for broken in seen.broken],
        }

    async def ports(request: Request) -> Any:
        wish = await request.json()
        found = keeper.free_ports(wish["addresses"], wish["count"], wish["first"], cluster=wish["cluster"])
        return {"ports": list(found)}

    async def all_nodes(_: Request) -> Any:
        return {
            "caches": {
                cache: {
                    name: protocol.process_to_json(each) for name, each in keeper.processes(cache).items()
                }
                for cache in keeper.caches()
            }
        }

    async def cache_nodes(request: Request) -> Any:
        cache = request.path_params["cache"]
        nodes = keeper.processes(cache)
        return {"nodes": {name: protocol.process_to_json(each) for name, each in nodes.items()}}

    async def prepare(request: Request) -> Any:
        order = protocol.order_from_json(await request.json())
        _refuse_another(request, order.cache)
        await asyncio.to_thread(keeper.prepare, order)
        return {}

    async def remove(request: Request) -> Any:
        await keeper.remove(*_named(request))
        return {}

    async def start(request: Request) -> Any:
        return {"left_out": await keeper.start(*_named(request))}

    async def stop(request: Request) -> Any:
        await keeper.stop(*_named(request))
        return {}

    async def log(request: Request) -> Any:
        lines = min(10_000, int(request.query_params.get("lines", "100")))
        return {"lines": list(keeper.log(*_named(request), lines))}

    async def ask(request: Request) -> Any:
        return {
            "reply": await keeper.ask(
                *_named(request), [str(word) for word in (await request.json())["words"]]
            )
        }

    async def file(request: Request) -> Any:
        return {"text": keeper.read(*_named(request), request.path_params["file"])}

    async def watch(request: Request) -> Any:
        order = protocol.watch_from_json(await request.json())
        _refuse_another(request, order.cache)
        await keeper.watch(order)
        return {}

    async def unwatch(request: Request) -> Any:
        await keeper.unwatch(request.path_params["cache"])
        return {}

    async def events(request: Request) -> Any:
        last = min(10_000, int(request.query_params.get("last", "50")))
        return {"events": keeper.events.read(request.path_params["cache"], last)}

    async def note(request: Request) -> Any:
        told = await request.json()
        keeper.events.add(
            str(told["kind"]), request.path_params["cache"], str(told["node"]), dict(told["facts"])
        )
        return {}

    async def aside(request: Request) -> Any:
        label = str((await request.json())["label"])
        return {"folder": await keeper.put_aside(*_named(request), label)}

    async def drop_snapshot(request: Request) -> Any:
        keeper.drop_snapshot(*_named(request))
        return {}

    async def guard(request: Request) -> Any:
        wish = protocol.request_from_json(await request.json())
        _refuse_another(request, wish.cache)
        return protocol.enforcement_to_json(await firewall.enforce(wish))

    async def look(request: Request) -> Any:
        wish = protocol.request_from_json(await request.json())
        _refuse_another(request, wish.cache)
        return protocol.enforcement_to_json(await firewall.status(wish))

    async def unguard(request: Request) -> Any:
        await firewall.remove(request.path_params["cache"])
        return {}

    async def beat(request: Request) -> Any:
        return keeper.heard(request.path_params["cache"], _caller(request))

    async def vote(request: Request) -> Any:
        gone = str((await request.json())["gone"])
        return {"granted": keeper.vote(request.path_params["cache"], _caller(request), gone)}

    async def leaving(_: Request) -> Any:
        asyncio.get_running_loop().call_later(0.05, leave)  # after the answer is out
        return {}

    node = "/nodes/{cache}/{node}"
    routes = [
        Route("/host", _answering(host)),
        Route("/engines", _answering(engines), methods=["POST"]),
        Route("/ports", _answering(ports), methods=["POST"]),
        Route("/nodes", _answering(all_nodes)),
        Route("/nodes/{cache}", _answering(cache_nodes)),
        Route(node, _answering(prepare), methods=["PUT"]),
        Route(node, _answering(remove), methods=["DELETE"]),
        Route(node + "/start", _answering(start), methods=["POST"]),
        Route(node + "/stop", _answering(stop), methods=["POST"]),
        Route(node + "/ask", _answering(ask), methods=["POST"]),
        Route(node + "/aside", _answering(aside), methods=["POST"]),
        Route(node + "/snapshot", _answering(drop_snapshot), methods=["DELETE"]),
        Route(node + "/log", _answering(log)),
        Route(node + "/files/{file}", _answering(file)),
        Route("/watches/{cache}", _answering(watch), methods=["PUT"]),
        Route("/watches/{cache}", _answering(unwatch), methods=["DELETE"]),
        Route("/events/{cache}", _answering(events)),
        Route("/events/{cache}", _answering(note), methods=["POST"]),
        Route("/guards/{cache}", _answering(guard), methods=["PUT"]),
        Route("/guards/{cache}", _answering(unguard), methods=["DELETE"]),
        Route("/guards/{cache}/look", _answering(look), methods=["POST"]),
        Route("/beats/{cache}", _answering(beat), methods=["POST"]),
        Route("/votes/{cache}", _answering(vote), methods=["POST"]),
        Route("/leave", _answering(leaving), methods=["POST"]),
    ]
    return Starlette(routes=[Mount(protocol.API, routes=routes)])


def _caller(request: Request) -> str:
    """Which machine asks, by its certificate; empty on this machine's own socket, where there is none."""
    return str(getattr(request.state, "caller", ""))


def _refuse_another(request: Request, cache: str) -> None:
    """What is sent must be about the cache that the path names: the path is what was allowed. Raises: NameNotAllowed."""
    if cache != request.path_params["cache"]:
        raise NameNotAllowed(cache)


def _named(request: Request) -> tuple[str, str]:
    return request.path_params["cache"], request.path_params["node"]


def _answering(answer: Answer) -> Handler:
    """JSON out; an error of ours as its sentence, a malformed request as what is wrong with it."""

    @wraps(answer)
    async def handle(request: Request) -> Response:
        try:
            return JSONResponse(await answer(request))
        except NoSuchNode as missing:
            return _refusal(missing, 404)
        except HoldfastError as refused:
            return _refusal(refused, 409)
        except (KeyError, TypeError, ValueError, json.JSONDecodeError) as malformed:
            return JSONResponse(
                {
                    "error": f"the request is malformed: {type(malformed).__name__}: {malformed}",
                    "code": "Malformed",
                },
                status_code=400,
            )
        except OSError as failed:
            return JSONResponse(
                {
                    "error": f"{failed.filename or 'the machine'}: {failed.strerror or failed}",
                    "code": "OSError",
                },
                status_code=507,
            )

    return handle


def _refusal(refused: HoldfastError, status: int) -> Response:
    return JSONResponse({"error": str(refused), "code": type(refused).__name__}, status_code=status)
