"""The AsyncAPI 3 document: topics as channels, what each process of the pipeline reads and writes as operations."""

import json
from typing import Any, Final

from pydantic.json_schema import models_json_schema

from schemas import examples
from schemas.control import CANCEL_TYPE, CancelRequest
from schemas.dead_letter import DeadLetterHeaders
from schemas.published import PublishedSchema, Schema, as_header_text
from schemas.record import OutgoingRecord
from schemas.request import REQUEST_TYPE, PromptRequest
from schemas.result import RESULT_TYPE, PromptResult
from schemas.topics import BULK_REQUESTS, CONTROL, DEAD_LETTERS, REQUESTS, RESULTS, RETRY, TOPICS, Topic

_SCHEMAS: Final = "#/components/schemas"
_REPLICAS_IN_PRODUCTION: Final = 3

_CHANNELS: Final = {
    REQUESTS: "requests",
    BULK_REQUESTS: "bulkRequests",
    RETRY: "retries",
    RESULTS: "results",
    DEAD_LETTERS: "deadLetters",
    CONTROL: "control",
}
_MESSAGE_OF: Final = {
    REQUESTS: "request",
    BULK_REQUESTS: "request",
    RETRY: "request",
    RESULTS: "result",
    DEAD_LETTERS: "deadLetter",
    CONTROL: "cancel",
}
# Seen from the pipeline: an upstream system sends what is received here, a subscriber receives what is sent.
_OPERATIONS: Final = (
    ("gateway", "send", REQUESTS, "Publish a request that came over HTTP."),
    ("gateway", "send", BULK_REQUESTS, "Publish a request that came over HTTP for the bulk lane."),
    ("gateway", "send", CONTROL, "Publish that somebody cancels a request over HTTP."),
    ("gateway", "receive", RESULTS, "Tell results to those who wait for one and to those who follow them."),
    ("worker", "receive", REQUESTS, "Answer the requests of the interactive lane."),
    ("worker", "receive", BULK_REQUESTS, "Answer the requests of the bulk lane."),
    ("worker", "send", RESULTS, "Publish the one terminal result of each request."),
    ("worker", "send", RETRY, "Put aside a request whose failure may pass."),
    ("worker", "send", DEAD_LETTERS, "Keep a record that cannot be read."),
    ("worker", "receive", CONTROL, "Drop a request that somebody has cancelled."),
    ("retries", "receive", RETRY, "Wait until a request is due again."),
    ("retries", "send", REQUESTS, "Return a due request to the interactive lane."),
    ("retries", "send", BULK_REQUESTS, "Return a due request to the bulk lane."),
    ("retries", "send", DEAD_LETTERS, "Keep a waiting record that no longer says where it came from."),
    ("sink", "receive", RESULTS, "Write results to ClickHouse and Postgres."),
    ("sink", "receive", REQUESTS, "Show a pending request of the interactive lane in Postgres."),
    ("sink", "receive", BULK_REQUESTS, "Show a pending request of the bulk lane in Postgres."),
)


def asyncapi_document() -> Schema:
    """The whole document; validated, and every reference resolved, by the tests."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Headrace",
            "version": "1.0.0",
            "description": "LLM requests as events: publish a request, receive exactly one terminal result.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {_CHANNELS[topic.name]: _channel(topic) for topic in TOPICS},
        "operations": {
            f"{role}-{action}-{_CHANNELS[topic]}": _operation(role, action, topic, summary)
            for role, action, topic, summary in _OPERATIONS
        },
        "components": {"messages": _messages(), "schemas": _schemas()},
    }


def _channel(topic: Topic) -> Schema:
    name = _MESSAGE_OF.get(topic.name)
    messages = {name: {"$ref": f"#/components/messages/{name}"}} if name else {}
    binding = {
        "topic": topic.name,
        "partitions": topic.partitions,
        "replicas": _REPLICAS_IN_PRODUCTION,
        "topicConfiguration": _configuration(topic),
        "bindingVersion": "0.5.0",
    }
    return {
        "address": topic.name,
        "description": topic.purpose,
        "messages": messages,
        "bindings": {"kafka": binding},
    }


def _configuration(topic: Topic) -> Schema:
    settings: Schema = topic.config(_REPLICAS_IN_PRODUCTION)
    settings["cleanup.policy"] = settings["cleanup.policy"].split(",")
    return {key: int(value) if key.endswith((".ms", ".bytes")) else value for key, value in settings.items()}


def _operation(role: str, action: str, topic: str, summary: str) -> Schema:
    channel = f"#/channels/{_CHANNELS[topic]}"
    return {
        "action": action,
        "channel": {"$ref": channel},
        "summary": summary,
        "tags": [{"name": role}],
        "messages": [{"$ref": f"{channel}/messages/{_MESSAGE_OF[topic]}"}],
    }


def _messages() -> Schema:
    request, result, dead = examples.request_record(), examples.result_record(), examples.dead_letter_record()
    return {
        "request": _message("PromptRequest", _event_headers(REQUEST_TYPE), [request], "Keyed by the request key."),
        "result": _message("PromptResult", _event_headers(RESULT_TYPE), [result], "Keyed by the request id."),
        "cancel": _message(
            "CancelRequest", _event_headers(CANCEL_TYPE), [examples.cancel_record()], "Keyed by the request id."
        ),
        "deadLetter": {
            "title": "Dead letter",
            "contentType": "application/octet-stream",
            "headers": {"$ref": f"{_SCHEMAS}/DeadLetterHeaders"},
            "payload": {"description": "The bytes of the original record, unchanged."},
            "examples": [{"headers": _text_headers(dead, "x-")}],
        },
    }


def _message(model: str, headers: Schema, records: list[OutgoingRecord], key: str) -> Schema:
    return {
        "title": model,
        "contentType": "application/json",
        "headers": headers,
        "payload": {"$ref": f"{_SCHEMAS}/{model}"},
        "bindings": {"kafka": {"key": {"type": "string", "description": key}, "bindingVersion": "0.5.0"}},
        "examples": [
            {"headers": _text_headers(record), "payload": json.loads(record.value or b"{}")} for record in records
        ],
    }


def _event_headers(event_type: str) -> Schema:
    text: Schema = {"type": "string"}
    return {
        "type": "object",
        "description": "CloudEvents 1.0 in Kafka's binary mode. A request without any `ce_*` header is accepted.",
        "required": ["ce_specversion", "ce_type", "ce_id", "ce_source"],
        "properties": {
            "content-type": {"const": "application/json"},
            "ce_specversion": {"const": "1.0"},
            "ce_type": {"const": event_type},
            "ce_id": {"type": "string", "format": "uuid", "description": "The request id."},
            "ce_source": text,
            "ce_subject": {"type": "string", "description": "The tenant."},
            "ce_time": {"type": "string", "format": "date-time"},
            "traceparent": {"type": "string", "description": "W3C trace context, passed on to the result."},
        },
    }


def _text_headers(record: OutgoingRecord, prefix: str = "") -> dict[str, str]:
    return {name: (value or b"").decode() for name, value in sorted(record.headers) if name.startswith(prefix)}


def _schemas() -> dict[str, Any]:
    _, found = models_json_schema(
        [
            (PromptRequest, "validation"),
            (PromptResult, "serialization"),
            (CancelRequest, "validation"),
            (DeadLetterHeaders, "serialization"),
        ],
        ref_template=f"{_SCHEMAS}/{{model}}",
        schema_generator=PublishedSchema,
    )
    models: dict[str, Any] = found["$defs"]
    return models | {"DeadLetterHeaders": as_header_text(models["DeadLetterHeaders"])}
