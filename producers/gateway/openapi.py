"""The OpenAPI 3.1 document: the framework's, with our problems, bodies and keys in it, and nothing we never answer."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from producers.gateway.bodies import GIVEN_BY_US
from producers.gateway.documents import ProblemDocument
from schemas.published import PublishedSchema, Schema
from schemas.request import PromptRequest

_DESCRIPTION: Final = "Requests for language models: accepted once the broker has them, answered and paid once."
_TEMPLATE: Final = "#/components/schemas/{model}"
_FRAMEWORKS_OWN: Final = ("HTTPValidationError", "ValidationError")
_OPEN_TAG: Final = "operations"
_KEYS: Final[list[dict[str, list[str]]]] = [{"bearer": []}, {"basic": []}]


def tell_openapi(app: FastAPI) -> None:
    """From now on `app` serves the document of its routes as they are then."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = openapi_document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def openapi_document(app: FastAPI) -> Schema:
    """The whole document."""
    document = get_openapi(title=app.title, version=app.version, description=_DESCRIPTION, routes=app.routes)
    for path in document["paths"].values():
        for operation in path.values():
            _correct(operation)
    schemas: Schema = document.setdefault("components", {}).setdefault("schemas", {})
    for name in _FRAMEWORKS_OWN:
        schemas.pop(name, None)
    schemas |= {"Problem": _schema_of(ProblemDocument)} | _request_body()
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    document["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "An API key: `headrace keys create`."},
        "basic": {"type": "http", "scheme": "basic", "description": "The same key as the password; any user name."},
    }
    return document


def _correct(operation: Schema) -> None:
    """Bad parameters are told as 400, never as the framework's 422; some routes need no key."""
    refusal = operation["responses"].get("422", {}).get("content", {}).get("application/json", {}).get("schema", {})
    if refusal.get("$ref", "").endswith("/HTTPValidationError"):
        del operation["responses"]["422"]
    operation["security"] = [] if _OPEN_TAG in operation.get("tags", ()) else _KEYS


def _request_body() -> Schema:
    """A PromptRequest without the fields that the gateway gives, and with `prompt` for a single message."""
    body = _schema_of(PromptRequest)
    parts: Schema = body.pop("$defs")
    for name in GIVEN_BY_US:
        del body["properties"][name]
    body["required"] = []
    body["title"] = "RequestBody"
    body["description"] = "What to ask. Exactly one of `prompt`, `messages` and `template` says it."
    body["properties"]["prompt"] = {"type": "string", "minLength": 1, "description": "Short for one user message."}
    prompted = {
        "required": ["prompt"],
        "properties": {"messages": False, "template": {"type": "null"}, "variables": {"maxProperties": 0}},
    }
    others = [one | {"properties": one["properties"] | {"prompt": False}} for one in body["oneOf"]]
    return parts | {"RequestBody": body | {"oneOf": [*others, prompted]}}


def _schema_of(model: Any) -> Schema:
    return dict(model.model_json_schema(ref_template=_TEMPLATE, schema_generator=PublishedSchema))
