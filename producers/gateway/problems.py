"""Errors as callers get them: RFC 9457 problem documents with a code to branch on and what to do next."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

PROBLEM_JSON: Final = "application/problem+json"
_TOLD_ERRORS: Final = 5

# For refusals that the framework makes by itself.
_CODES: Final[Mapping[int, tuple[str, str]]] = {
    404: ("no_such_route", "See the OpenAPI document at /openapi.json for what there is."),
    405: ("method_not_allowed", "See the OpenAPI document at /openapi.json for what there is."),
    413: ("body_too_large", "Send less at a time; POST /v1/bulk takes long uploads."),
}


class Problem(Exception):  # noqa: N818 - RFC 9457's word
    """An answer that is no success. `detail` never repeats what the caller sent."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        next_step: str,
        *,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.detail = detail
        self.next_step = next_step
        self.headers = dict(headers or {})
        self.more = more

    def body(self) -> dict[str, Any]:
        """The document; `more` stands beside the standard members, `request_id` among it where there is one."""
        return {
            "type": f"urn:headrace:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "next": self.next_step,
            **{name: value for name, value in self.more.items() if value is not None},
        }


def answer_of(problem: Problem) -> Response:
    """The problem as an answer."""
    body = orjson.dumps(problem.body(), default=str)
    return Response(body, problem.status, headers=problem.headers, media_type=PROBLEM_JSON)


def tell_problems(app: FastAPI) -> None:
    """From now on every refusal of `app`, the framework's own included, is a problem document."""

    @app.exception_handler(Problem)
    async def _ours(_: Request, problem: Problem) -> Response:
        return answer_of(problem)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> Response:
        return answer_of(Problem(400, "invalid_request", _told(error), "Correct the named fields and send it again."))

    @app.exception_handler(HTTPException)
    async def _framework(request: Request, error: HTTPException) -> Response:
        code, next_step = _CODES.get(error.status_code, ("refused", "See /openapi.json for what is accepted."))
        detail = HTTPStatus(error.status_code).description or code
        is_method = error.status_code == HTTPStatus.METHOD_NOT_ALLOWED
        headers = _allow(app, request, error.headers) if is_method else error.headers
        return answer_of(Problem(error.status_code, code, detail, next_step, headers=headers))


def bug() -> Problem:
    """500."""
    return Problem(500, "internal_error", "the gateway failed", "Send it again; it may be accepted.")


def _allow(app: FastAPI, request: Request, usual: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Every method of that path; the framework names those of the first of its routes."""
    there = (item for path, item in app.openapi()["paths"].items() if compile_path(path)[0].match(request.url.path))
    methods = sorted({method.upper() for item in there for method in item})
    return {"Allow": ", ".join(methods)} if methods else usual


def _told(error: RequestValidationError) -> str:
    """Names of fields and rules; below a field's own name a location may be the caller's text."""
    problems = error.errors()[:_TOLD_ERRORS]
    told = (f"{'.'.join(str(part) for part in each['loc'][1:2]) or 'body'}: {each['msg']}" for each in problems)
    return "; ".join(dict.fromkeys(told))
