"""`POST /v1/messages` and its neighbours, over HTTP."""

import asyncio
from typing import Final

from aiohttp import web

from ops.rehearsal.answers import input_tokens_of
from ops.rehearsal.delivery import spoilt, streamed, whole
from ops.rehearsal.rehearsal import Caller, Rehearsal, Scene
from ops.rehearsal.settings import FaultRule
from ops.rehearsal.validation import MAX_BODY_BYTES, Ask, Refusal, read_ask
from ops.rehearsal.wire import error_body, message_body, models_body, sse_events, token_count_body

_FIRST_TOKEN_SHARE: Final = 0.3
"""The part of a streamed answer's latency that passes before its first event."""


class MessagesApi:
    """The API's routes over one rehearsal."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        self._rehearsal = rehearsal

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/messages", self.messages),
            web.post("/v1/messages/count_tokens", self.count_tokens),
            web.get("/v1/models", self.models),
        ]

    async def messages(self, request: web.Request) -> web.StreamResponse:
        caller = _caller(request)
        try:
            ask = await self._read(request)
        except Refusal as refusal:
            self._rehearsal.refuse(None, caller, refusal.status)
            return self._error(refusal.status, refusal.message)
        fault = self._rehearsal.fault_for(ask, caller)
        if fault is not None and fault.status is not None:
            self._rehearsal.refuse(ask, caller, fault.status)
            return self._scripted_error(fault, fault.status)
        scene = self._rehearsal.stage(ask, caller)
        wait_seconds = self._rehearsal.admit(scene)
        if wait_seconds > 0:
            self._rehearsal.refuse(ask, caller, 429)
            retry_after = {"retry-after": str(max(1, -int(-wait_seconds // 1)))}
            return self._error(429, "This request would exceed your organization's rate limit", retry_after)
        return await self._perform(request, caller, scene, fault)

    async def count_tokens(self, request: web.Request) -> web.StreamResponse:
        try:
            ask = await self._read(request, counting=True)
        except Refusal as refusal:
            return self._error(refusal.status, refusal.message)
        return whole(token_count_body(input_tokens_of(len(ask.prompt))), self._headers())

    async def models(self, request: web.Request) -> web.StreamResponse:
        if not _key(request):
            return self._error(401, "x-api-key header is required")
        return whole(models_body(), self._headers())

    async def _read(self, request: web.Request, *, counting: bool = False) -> Ask:
        if not _key(request):
            raise Refusal(401, "x-api-key header is required")
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            raise Refusal(413, f"Request exceeds the maximum size of {MAX_BODY_BYTES} bytes") from None
        return read_ask(body, counting=counting)

    async def _perform(
        self, request: web.Request, caller: Caller, scene: Scene, fault: FaultRule | None
    ) -> web.StreamResponse:
        self._rehearsal.in_flight += 1
        try:
            seconds = scene.latency_seconds
            if scene.ask.stream and fault is None:
                await _pause(seconds * _FIRST_TOKEN_SHARE)
                remaining = seconds * (1 - _FIRST_TOKEN_SHARE)
                response = await streamed(request, sse_events(scene.answer), self._headers(), remaining)
                self._rehearsal.charge(scene, caller, None)
                return response
            await _pause(seconds)
            self._rehearsal.charge(scene, caller, fault)
            if fault is None:
                return whole(message_body(scene.answer), self._headers())
            is_stream = scene.ask.stream
            parts = list(sse_events(scene.answer)) if is_stream else [message_body(scene.answer)]
            return await spoilt(request, fault, parts, self._headers(), is_stream=is_stream)
        finally:
            self._rehearsal.in_flight -= 1

    def _scripted_error(self, fault: FaultRule, status: int) -> web.Response:
        headers: dict[str, str] = {}
        retry_after = "1" if fault.retry_after is None and status == 429 else fault.retry_after  # noqa: PLR2004
        if retry_after not in (None, "none"):
            headers["retry-after"] = f"{retry_after:.15g}" if isinstance(retry_after, float) else str(retry_after)
        if fault.retry_after_ms is not None:
            headers["retry-after-ms"] = f"{fault.retry_after_ms:.15g}"
        return self._error(status, fault.message or "A scripted fault of the rehearsal", headers, fault.error_code)

    def _error(
        self, status: int, message: str, headers: dict[str, str] | None = None, error_code: str | None = None
    ) -> web.Response:
        own = self._headers()
        body = error_body(status, message, own["request-id"], error_code)
        return whole(body, {**own, **(headers or {})}, status)

    def _headers(self) -> dict[str, str]:
        return {"request-id": f"req_{self._rehearsal.next_id()}", **self._rehearsal.rate_headers()}


async def _pause(seconds: float) -> None:
    if seconds > 0:
        await asyncio.sleep(seconds)


def _key(request: web.Request) -> str:
    return request.headers.get("x-api-key") or request.headers.get("Authorization", "").removeprefix("Bearer ")


def _caller(request: web.Request) -> Caller:
    return Caller.of(_key(request), request.headers.get("x-headrace-request-id"))
