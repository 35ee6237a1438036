"""The first and last thing that sees a call: bounds on what comes in, care for what goes out."""

import logging
import math
import time
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.requests import Request

from producers.gateway.incoming_body import BoundedBody, Message, Receive, body_cut
from producers.gateway.incoming_head import check_head, client_address, has_body
from producers.gateway.intake_rules import BodyRule, IntakeRules, Ticks
from producers.gateway.outgoing import Answer, Send, forget_added
from producers.gateway.problems import Problem, answer_of, bug
from producers.gateway.refused_keys import RefusedKeys
from producers.gateway.strict_json import JsonRefusedError, strict_json

Scope = MutableMapping[str, Any]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

log = logging.getLogger("headrace.gateway")

_BODY_BYTES = "headrace.body_bytes"
_UNAUTHORIZED = 401
_TOLD_FRAMES = 6


class BrokenAnswerError(RuntimeError):
    """The application failed when its answer had begun."""


def body_bytes_of(request: Request) -> int:
    """How many bytes of body came over the wire for this request so far."""
    count: Callable[[], int] = request.scope.get(_BODY_BYTES, lambda: 0)
    return count()


class Intake:
    """ASGI middleware, the outermost: nothing of ours comes before it, and bugs become answers here."""

    def __init__(self, app: Application, rules: IntakeRules, ticks: Ticks = time.monotonic) -> None:
        self._app = app
        self._rules = rules
        self._ticks = ticks
        self._refused = RefusedKeys(rules.refused_keys_per_second, rules.refused_keys_burst, ticks)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self._call(scope, receive, Answer(send, scope))
            case "websocket":
                await send({"type": "websocket.close", "code": 1008})
            case _:
                await self._app(scope, receive, send)

    async def _call(self, scope: Scope, receive: Receive, answer: Answer) -> None:
        try:
            check_head(scope, self._rules)
            headers = dict(scope["headers"])
            address = client_address(scope, headers, self._rules)
            scope["client"] = (address, (scope.get("client") or ("", 0))[1])
            self._check_refused(address)
            body = self._body(scope, headers, receive)
            if body is not None:
                receive = await self._checked(scope, body)
        except Problem as problem:
            await answer_of(problem)(scope, receive, answer)
            return
        await self._answered(scope, receive, answer)
        if answer.status == _UNAUTHORIZED:
            self._refused.note(address)

    async def _answered(self, scope: Scope, receive: Receive, answer: Answer) -> None:
        """A bug is told to the log without its message, which may hold what the caller sent."""
        try:
            await self._app(scope, receive, answer)
        except Exception as error:  # noqa: BLE001 - whatever it is, it gets an answer
            frames = traceback.extract_tb(error.__traceback__)[-_TOLD_FRAMES:]
            where = " < ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(frames))
            log.error("gateway_bug %s at %s", type(error).__name__, where)  # noqa: TRY400 - never its message
            if answer.status is not None:
                # Half an answer must not look whole: the server cuts the connection.
                raise BrokenAnswerError(type(error).__name__) from None
            forget_added(scope)
            await answer_of(bug())(scope, receive, answer)

    def _check_refused(self, address: str) -> None:
        wait = self._refused.wait_seconds(address)
        if wait > 0:
            headers = {"Retry-After": str(math.ceil(wait))}
            detail = "too many wrong API keys came from this address"
            raise Problem(429, "too_many_wrong_keys", detail, "Wait, and send a valid key.", headers=headers)

    def _body(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive) -> BoundedBody | None:
        if not has_body(headers):
            return None
        packed = headers.get(b"content-encoding", b"").strip().lower() == b"gzip"
        body = BoundedBody(receive, self._rules.body_rule(scope["path"]), self._rules, self._ticks, packed=packed)
        scope[_BODY_BYTES] = lambda: body.sent_bytes
        return body

    async def _checked(self, scope: Scope, body: BoundedBody) -> Receive:
        """The body for the application: as it comes, or read whole and found to be strict JSON."""
        rule: BodyRule = self._rules.body_rule(scope["path"])
        if rule.streamed or scope["method"] not in {"POST", "PUT", "PATCH"}:
            return body
        data = await body.whole()
        if data is None:
            raise body_cut()
        try:
            strict_json(data)
        except JsonRefusedError as error:
            raise Problem(400, "invalid_json", str(error), "Send one JSON document in UTF-8.") from None
        return _replayed(data, body)


def _replayed(data: bytes, rest: Receive) -> Receive:
    """The body in one piece, then whatever follows it: that the caller went away."""
    pending: list[Message] = [{"type": "http.request", "body": data, "more_body": False}]

    async def receive() -> Message:
        return pending.pop() if pending else await rest()

    return receive
