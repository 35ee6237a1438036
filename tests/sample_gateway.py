"""A gateway of tests: routes of every kind over the real intake and entrance, called without a server."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.routing import APIRoute
from httpx2 import ASGITransport, AsyncClient
from starlette.routing import Route

from producers.gateway.app import gateway_app
from producers.gateway.callers import Caller, KeyRing
from producers.gateway.entrance import Entrance, lets_in
from producers.gateway.intake import body_bytes_of
from producers.gateway.intake_rules import IntakeRules
from producers.gateway.problems import Problem
from producers.gateway.quotas import NoQuotas, Quotas

OPEN_ROUTES = frozenset({"/livez", "/readyz", "/metrics", "/openapi.json", "/asyncapi.json", "/api/health"})
"""Asked without a key."""


def routes_of(app: FastAPI | APIRouter) -> Iterator[Route | APIRoute]:
    """Every route, those of routers inside routers included. Fails for a kind that it does not know."""
    for route in app.routes:
        if isinstance(route, Route | APIRoute):
            yield route
        else:
            # FastAPI's own, without a public name: it holds the router that was included.
            yield from routes_of(vars(route)["original_router"])


def routes_without_entrance(app: FastAPI) -> list[str]:
    """Routes that anybody may call, apart from those that are meant to be open."""
    return [
        f"{'/'.join(sorted(route.methods or ()))} {route.path}"
        for route in routes_of(app)
        if route.path not in OPEN_ROUTES and not (isinstance(route, APIRoute) and entrances_of(route))
    ]


def entrances_of(route: APIRoute) -> list[Entrance]:
    """The checks that a caller passes on this route."""
    waiting, found = [route.dependant], []
    while waiting:
        dependant = waiting.pop()
        if isinstance(dependant.call, Entrance):
            found.append(dependant.call)
        waiting += dependant.dependencies
    return found


def sample_routes(keys: KeyRing, quotas: Quotas | None = None) -> APIRouter:
    """An open one, one that reads, one that submits, one that takes a long upload, and one with a bug."""
    router, quotas = APIRouter(), quotas or NoQuotas()

    @router.get("/livez")
    async def livez() -> dict[str, bool]:
        return {"live": True}

    @router.get("/v1/requests/{name}")
    async def read(
        request: Request, name: str, caller: Annotated[Caller, Depends(lets_in(keys, "read", quotas=quotas))]
    ) -> dict[str, Any]:
        address = request.client.host if request.client else ""
        return {"tenant": caller.tenant, "name": name, "address": address}

    @router.post("/v1/requests", status_code=202)
    async def submit(request: Request, caller: Annotated[Caller, Depends(lets_in(keys, "submit"))]) -> dict[str, Any]:
        return {"tenant": caller.tenant, "body": await request.json(), "bytes": body_bytes_of(request)}

    @router.post("/v1/bulk", status_code=202)
    async def upload(request: Request, caller: Annotated[Caller, Depends(lets_in(keys, "submit"))]) -> dict[str, Any]:
        size = 0
        async for part in request.stream():
            size += len(part)
        return {"tenant": caller.tenant, "size": size}

    @router.get("/v1/bug/{kind}")
    async def bug(kind: str, _: Annotated[Caller, Depends(lets_in(keys, "read"))]) -> Response:
        if kind == "problem":
            raise Problem(409, "too_early", "it is not there yet", "Ask again.", headers={"Retry-After": "1"})
        if kind == "header":
            return Response("", headers={"X-Label": "one\r\nSet-Cookie: two"})
        raise RuntimeError("SECRET-WORDS of a caller")

    return router


def sample_app(keys: KeyRing, quotas: Quotas | None = None, rules: IntakeRules | None = None) -> FastAPI:
    return gateway_app([sample_routes(keys, quotas)], intake=rules)


def client_of(app: FastAPI, key: str | None = None, **given: Any) -> AsyncClient:
    """A client in the same process; bugs come out as answers, as they would from a server."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    transport = ASGITransport(app, raise_app_exceptions=False, client=given.pop("client", ("192.0.2.1", 4000)))
    return AsyncClient(transport=transport, base_url="http://gateway.test", headers=headers, **given)


async def in_parts(parts: Sequence[bytes]) -> AsyncIterator[bytes]:
    """A body without a length."""
    for part in parts:
        yield part
