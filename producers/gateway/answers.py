"""Answers that are no problems: JSON by orjson, and how the OpenAPI document tells of both."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson
from fastapi import Request, Response
from pydantic import BaseModel

from producers.gateway.problems import PROBLEM_JSON

PROBLEM_REF: Final = "#/components/schemas/Problem"
REQUEST_BODY_REF: Final = "#/components/schemas/RequestBody"

Told = dict[str, Any]


def json_answer(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The document as the body; ids as text, times in RFC 3339."""
    return Response(orjson.dumps(document), status, headers=headers, media_type="application/json")


def address_of(request: Request) -> str:
    """Who is connected; a proxy's own address where there is one."""
    return request.client.host if request.client is not None else ""


def answered(description: str, model: type[BaseModel] | None = None) -> Told:
    """What a route's `responses` say of a success; without a model it is an object of any shape."""
    if model is not None:
        return {"description": description, "model": model}
    return {"description": description, "content": {"application/json": {"schema": {"type": "object"}}}}


def refused(*statuses: int) -> dict[int | str, Told]:
    """What a route's `responses` say of its refusals."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {PROBLEM_JSON: {"schema": {"$ref": PROBLEM_REF}}},
        }
        for status in sorted(statuses)
    }


def refused_to_callers(*more: int) -> dict[int | str, Told]:
    """The same of a route that asks for a key: some refusals any of them may make."""
    return refused(*{400, 401, 403, 408, 413, 414, 415, 421, 429, 431, 503, *more})


def reads_body(schema: Mapping[str, Any]) -> Told:
    """`openapi_extra` of a route that reads its body itself."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": dict(schema)}}}}
