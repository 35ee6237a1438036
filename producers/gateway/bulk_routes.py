"""Bulk jobs over HTTP: upload, status, verdicts, results, cancel."""

import hashlib
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect

from producers.bulk_split import CsvRows, JsonArray, JsonLines, Splitter
from producers.gateway.bulk_desk import BulkDesk
from producers.gateway.bulk_intake import BulkIntake, Upload
from producers.gateway.bulk_rehearsal import rehearsed
from producers.gateway.callers import Caller, KeyRing
from producers.gateway.entrance import lets_in
from producers.gateway.problems import Problem
from producers.gateway.quotas import Quotas

_SPLITTERS: Final[dict[str, type[Splitter]]] = {
    "application/x-ndjson": JsonLines,
    "application/ndjson": JsonLines,
    "application/jsonl": JsonLines,
    "application/json": JsonArray,
    "text/csv": CsvRows,
}
_NDJSON: Final = "application/x-ndjson"
MOST_BYTES: Final = 2 * 1024 * 1024 * 1024
_LONGEST_CLIENT_KEY: Final = 255

Number = Annotated[int, Query(ge=0, le=100_000)]
Limit = Annotated[int, Query(ge=1, le=1000)]


def bulk_routes(intake: BulkIntake, desk: BulkDesk, keys: KeyRing, quotas: Quotas | None = None) -> APIRouter:
    """The routes under /v1/bulk."""
    routes = APIRouter(prefix="/v1/bulk", tags=["bulk"])
    # An upload counts its lots itself.
    uploads, cancels = Depends(lets_in(keys, "submit")), Depends(lets_in(keys, "submit", quotas=quotas))
    reads = Depends(lets_in(keys, "read", quotas=quotas))

    @routes.post("", status_code=202)
    async def upload(request: Request, caller: Annotated[Caller, uploads], dry_run: bool = False) -> Response:
        """Up to 100,000 requests as NDJSON, a JSON array or CSV; the same Idempotency-Key goes on with a cut upload."""
        sent = Upload(caller, _content(request), _splitter(request), _client_key(request), _address(request))
        try:
            if dry_run:
                return _json(await rehearsed(intake, sent))
            job = await intake.take(sent)
        except ClientDisconnect:
            return Response(status_code=499)  # nobody is there to read it
        return _json(await desk.receipt(caller.tenant, job), 202, {"Location": f"/v1/bulk/{job}"})

    @routes.get("")
    async def jobs(caller: Annotated[Caller, reads], before: UUID | None = None, limit: Limit = 100) -> Response:
        """The newest first; `next` is what to give as `before` for the ones behind."""
        page = await desk.page(caller.tenant, before, limit)
        return _json({"jobs": page, "next": page[-1]["id"] if len(page) == limit else None})

    @routes.get("/{job}")
    async def status(job: UUID, caller: Annotated[Caller, reads]) -> Response:
        """Counts, percent, rate, time left, cost, and what failed for which reason."""
        return _json(await desk.status(caller.tenant, job))

    @routes.get("/{job}/lines")
    async def lines(
        job: UUID,
        caller: Annotated[Caller, reads],
        status: Literal["all", "accepted", "rejected"] = "all",
        after: Number = 0,
        limit: Limit = 1000,
    ) -> Response:
        """The verdict of each item behind `after`: an id, or the reason it was refused."""
        told = await desk.verdicts(caller.tenant, job, status, after, limit)
        return _json({"lines": told, "next": told[-1]["item"] if len(told) == limit else None})

    @routes.get("/{job}/results")
    async def results(job: UUID, caller: Annotated[Caller, reads]) -> Response:
        """The lines that have ended, in their order, as NDJSON."""
        pages = await desk.results(caller.tenant, job)
        headers = {"Content-Disposition": f'attachment; filename="{job}.ndjson"'}
        return StreamingResponse(pages, media_type=_NDJSON, headers=headers)

    @routes.delete("/{job}", status_code=202)
    async def cancel(job: UUID, caller: Annotated[Caller, cancels]) -> Response:
        """Take no more lines; those that have no result yet end as cancelled."""
        await desk.cancel(caller.tenant, job, f"key {caller.key_id}")
        return _json(await desk.status(caller.tenant, job), 202)

    return routes


def _splitter(request: Request) -> Splitter:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _SPLITTERS:
        known = ", ".join(_SPLITTERS)
        raise Problem(415, "unknown_content_type", "the content type says no known form", f"Send one of: {known}.")
    return _SPLITTERS[kind]()


async def _content(request: Request) -> AsyncIterator[bytes]:
    left = MOST_BYTES
    async for data in request.stream():
        left -= len(data)
        if left < 0:
            detail = f"an upload has at most {MOST_BYTES} bytes"
            raise Problem(413, "upload_too_large", detail, "Send it as several jobs.")
        yield data


def _client_key(request: Request) -> bytes | None:
    """A digest of the Idempotency-Key, so that no key of a caller's making is stored."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 0 < len(key) <= _LONGEST_CLIENT_KEY:
        detail = f"an Idempotency-Key has 1 to {_LONGEST_CLIENT_KEY} characters"
        raise Problem(400, "invalid_idempotency_key", detail, "Send a shorter one, a UUID for example.")
    return hashlib.sha256(b"bulk\0" + key.encode(errors="surrogateescape")).digest()


def _address(request: Request) -> str:
    return request.client.host if request.client is not None else ""


def _json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body, default=str), status, headers, "application/json")
