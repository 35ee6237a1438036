"""`AnthropicModel`: the model behind the Messages API, on the official SDK."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import anthropic
import httpx2
import orjson
from anthropic.types import Message

from schemas.result import Usage
from streams.errors import ModelAmbiguous, ModelBusy, ModelError
from streams.model.failures import classify
from streams.model.plain_calls import Answer, ConnectionLimits, PlainCalls
from streams.model.port import ModelPrompt, ModelReply
from streams.model.prompt_marks import MARK
from streams.model.rate_headers import rate_headers

REQUEST_ID_HEADER: Final = "x-headrace-request-id"
MAX_UNSTREAMED_TOKENS: Final = 21_333
"""Above it an answer may outlast what the API allows without streaming."""


Heard = tuple[dict[str, Any], Mapping[str, str]]
"""A message, and the headers it came with."""


@dataclass(frozen=True, slots=True)
class AnthropicOptions:
    """`timeout_seconds` bounds every call, beside its deadline; `lean` sends plain calls past the SDK's pipeline."""

    timeout_seconds: float = 240.0
    stream_above_tokens: int = MAX_UNSTREAMED_TOKENS
    lean: bool = True
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)


class AnthropicModel:
    """One call per answer: the SDK's own retries are off. Use and close it on one event loop."""

    def __init__(self, api_key: str, base_url: str | None, options: AnthropicOptions | None = None) -> None:
        self._options = options or AnthropicOptions()
        self._client = _client(api_key, base_url, self._options)
        self._plain = PlainCalls(self._client, "/v1/messages", self._options.connections)

    async def answer(self, prompt: ModelPrompt, deadline_seconds: float) -> ModelReply:
        """See `Model.answer`."""
        if deadline_seconds <= 0:
            raise ModelBusy("deadline_exceeded", "the deadline had passed before the call; nothing was sent")
        seconds = min(deadline_seconds, self._options.timeout_seconds)
        started = time.monotonic()
        try:
            # The transports bound each read; an answer that drips would outlive any of them.
            async with asyncio.timeout(seconds):
                message, headers = await self._ask(prompt, seconds)
        except TimeoutError:
            raise ModelAmbiguous("deadline_exceeded", f"no answer within {seconds:g} seconds") from None
        except anthropic.APIError as error:
            # Without its cause: that holds the request and with it the prompt.
            raise classify(error, datetime.now(UTC)) from None
        return _reply(message, headers, int((time.monotonic() - started) * 1000))

    async def close(self) -> None:
        """Close all connections; calls in flight end as ambiguous."""
        await self._plain.close()
        await self._client.close()

    async def _ask(self, prompt: ModelPrompt, seconds: float) -> Heard:
        if prompt.max_tokens > self._options.stream_above_tokens:
            return await self._ask_streaming(prompt, seconds)
        headers = {REQUEST_ID_HEADER: prompt.request_id}
        body = orjson.dumps(_body(prompt))
        if self._options.lean:
            answer, heard = await self._plain.post(body, headers)
        else:
            answer, heard = await self._post_by_sdk(body, headers, seconds)
        try:
            return orjson.loads(answer), heard
        except orjson.JSONDecodeError:
            raise _unreadable() from None

    async def _post_by_sdk(self, body: bytes, headers: dict[str, str], seconds: float) -> Answer:
        response = await self._client.post(
            "/v1/messages",
            content=body,
            cast_to=httpx2.Response,
            options={"headers": headers, "timeout": seconds},
        )
        return Answer(response.content, response.headers)

    async def _ask_streaming(self, prompt: ModelPrompt, seconds: float) -> Heard:
        try:
            async with self._client.messages.stream(
                **_body(prompt), extra_headers={REQUEST_ID_HEADER: prompt.request_id}, timeout=seconds
            ) as stream:
                message: Message = await stream.get_final_message()
                headers = stream.response.headers
        except httpx2.HTTPError:
            raise ModelAmbiguous("connection_lost", "the connection was lost while the answer came") from None
        except (ValueError, LookupError, AssertionError, RuntimeError):
            raise _unreadable() from None
        if message.stop_reason is None:
            raise ModelAmbiguous("connection_lost", "the answer ended before its end")
        return message.model_dump(), headers


def _client(api_key: str, base_url: str | None, options: AnthropicOptions) -> anthropic.AsyncAnthropic:
    limit = options.connections.max_connections
    limits = httpx2.Limits(max_connections=limit, max_keepalive_connections=limit, keepalive_expiry=15.0)
    return anthropic.AsyncAnthropic(
        api_key=api_key,
        base_url=base_url,
        max_retries=0,
        timeout=anthropic.Timeout(options.timeout_seconds, connect=options.connections.connect_seconds),
        # The default transport searches its pool for every call: 4.5 ms of CPU at 500 connections.
        http_client=anthropic.DefaultAioHttpClient(limits=limits),
        # Spans are the pipeline's own; prompts and answers must not reach a tracer.
        open_telemetry={"traces": False, "propagation": False},
    )


def _body(prompt: ModelPrompt) -> dict[str, Any]:
    body: dict[str, Any] = {"model": prompt.model, "max_tokens": prompt.max_tokens, "messages": prompt.messages}
    if prompt.system is not None and prompt.marks_system:
        body["system"] = [{"type": "text", "text": prompt.system, "cache_control": dict(MARK)}]
    elif prompt.system is not None:
        body["system"] = prompt.system
    return body


def _reply(message: dict[str, Any], headers: Mapping[str, str], model_ms: int) -> ModelReply:
    try:
        used = message["usage"]
        return ModelReply(
            text="".join(block["text"] for block in message["content"] if block["type"] == "text"),
            stop_reason=message["stop_reason"],
            model=message["model"],
            usage=Usage(
                input_tokens=used["input_tokens"],
                output_tokens=used["output_tokens"],
                cache_read_tokens=used.get("cache_read_input_tokens") or 0,
                cache_write_tokens=used.get("cache_creation_input_tokens") or 0,
                cache_write_1h_tokens=(used.get("cache_creation") or {}).get("ephemeral_1h_input_tokens") or None,
            ),
            model_ms=model_ms,
            limits=rate_headers(headers),
        )
    except (LookupError, TypeError, AttributeError, ValueError):
        raise _unreadable() from None


def _unreadable() -> ModelError:
    return ModelAmbiguous("unreadable_answer", "the API's answer is not a message")
