"""Bulk jobs over HTTP: upload, status, verdicts, results, cancel."""

import hashlib
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.requests import ClientDisconnect

from producers.bulk_split import CsvRows, JsonArray, JsonLines, Splitter
from producers.gateway.answers import address_of, answered, json_answer, refused_to_callers
from producers.gateway.bulk_desk import BulkDesk
from producers.gateway.bulk_documents import JobPage, JobReceipt, JobStatus, RehearsedUpload, VerdictPage
from producers.gateway.bulk_intake import BulkIntake, Upload
from producers.gateway.bulk_rehearsal import rehearsed
from producers.gateway.callers import Caller, KeyRing
from producers.gateway.entrance import lets_in
from producers.gateway.problems import Problem
from producers.gateway.quotas import Quotas
from producers.gateway.streaming import Streamed

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

_Item = Annotated[int, Query(ge=0, le=100_000)]
_Limit = Annotated[int, Query(ge=1, le=1000)]

_TEXT: Final[dict[str, Any]] = {"schema": {"type": "string"}}
# One that is no request is rejected alone.
_ITEM: Final[dict[str, Any]] = {"anyOf": [{"$ref": "#/components/schemas/RequestBody"}, {}]}
_CONTENT: Final[dict[str, Any]] = {
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "The same key and content go on with an upload that was cut.",
            "schema": {"type": "string", "minLength": 1, "maxLength": _LONGEST_CLIENT_KEY},
        }
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/x-ndjson": _TEXT,
            "application/json": {"schema": {"type": "array", "items": _ITEM}},
            "text/csv": _TEXT,
        },
    },
}
_UPLOADED: Final = {
    200: answered("The verdicts it would get, with `dry_run`.", RehearsedUpload),
    202: answered("The broker has every item that is a request.", JobReceipt),
    **refused_to_callers(409, 413, 415, 422),
}
_LINES: Final = {200: {"description": "One line each.", "content": {_NDJSON: _TEXT}}, **refused_to_callers(404)}


def bulk_routes(intake: BulkIntake, desk: BulkDesk, keys: KeyRing, quotas: Quotas | None = None) -> APIRouter:
    """The routes under /v1/bulk."""
    routes = APIRouter(prefix="/v1/bulk", tags=["bulk"])
    # An upload counts its lots itself.
    cancels = Depends(lets_in(keys, "submit", quotas=quotas))
    _add_uploads(routes, intake, desk, Depends(lets_in(keys, "submit")), cancels)
    _add_readings(routes, desk, Depends(lets_in(keys, "read", quotas=quotas)))
    return routes


def _add_uploads(routes: APIRouter, intake: BulkIntake, desk: BulkDesk, submits: Any, cancels: Any) -> None:
    @routes.post("", status_code=202, responses=_UPLOADED, openapi_extra=_CONTENT, operation_id="upload_bulk")
    async def upload(request: Request, caller: Annotated[Caller, submits], dry_run: bool = False) -> Response:
        """Up to 100,000 requests as NDJSON, a JSON array or CSV; the same Idempotency-Key goes on with a cut upload."""
        sent = Upload(caller, _content(request), _splitter(request), _client_key(request), address_of(request))
        try:
            if dry_run:
                return json_answer(await rehearsed(intake, sent))
            job = await intake.take(sent)
        except ClientDisconnect:
            return Response(status_code=499)  # nobody is there to read it
        return json_answer(await desk.receipt(caller.tenant, job), 202, {"Location": f"/v1/bulk/{job}"})

    cancelling = {202: answered("It takes no more lines.", JobStatus), **refused_to_callers(404)}

    @routes.delete("/{job}", status_code=202, responses=cancelling, operation_id="cancel_bulk")
    async def cancel(job: UUID, caller: Annotated[Caller, cancels]) -> Response:
        """Take no more lines; those that have no result yet end as cancelled."""
        await desk.cancel(caller.tenant, job, f"key {caller.key_id}")
        return json_answer(await desk.status(caller.tenant, job), 202)


def _add_readings(routes: APIRouter, desk: BulkDesk, reads: Any) -> None:
    paged = {200: answered("The newest first.", JobPage), **refused_to_callers()}

    @routes.get("", responses=paged, operation_id="list_bulk")
    async def jobs(caller: Annotated[Caller, reads], before: UUID | None = None, limit: _Limit = 100) -> Response:
        """The tenant's jobs; `next` is what to give as `before` for the ones behind."""
        page = await desk.page(caller.tenant, before, limit)
        return json_answer({"jobs": page, "next": page[-1]["id"] if len(page) == limit else None})

    known = {200: answered("How it stands; not older than a second.", JobStatus), **refused_to_callers(404)}

    @routes.get("/{job}", responses=known, operation_id="get_bulk")
    async def status(job: UUID, caller: Annotated[Caller, reads]) -> Response:
        """Counts, percent, rate, time left, cost, and what failed for which reason."""
        return json_answer(await desk.status(caller.tenant, job))

    verdicts = {200: answered("In the order of the items.", VerdictPage), **refused_to_callers(404)}

    @routes.get("/{job}/lines", responses=verdicts, operation_id="get_bulk_lines")
    async def lines(
        job: UUID,
        caller: Annotated[Caller, reads],
        status: Literal["all", "accepted", "rejected"] = "all",
        after: _Item = 0,
        limit: _Limit = 1000,
    ) -> Response:
        """The verdict of each item behind `after`: an id, or the reason it was refused."""
        return json_answer(await desk.verdicts(caller.tenant, job, status, after, limit))

    @routes.get("/{job}/results", responses=_LINES, operation_id="get_bulk_results")
    async def results(job: UUID, caller: Annotated[Caller, reads]) -> Response:
        """The lines that have ended, in their order, as NDJSON."""
        pages = await desk.results(caller.tenant, job)
        return Streamed(pages, _NDJSON, {"Content-Disposition": f'attachment; filename="{job}.ndjson"'})


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
