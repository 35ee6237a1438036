"""From the bytes a caller sent to a request: what is refused, and in which words."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from pydantic_core import from_json

from producers.building import InvalidRequestError, check_template, request_from
from producers.gateway.callers import Caller
from producers.gateway.problems import Problem
from producers.uuid7 import time_of
from schemas.request import PromptRequest

GIVEN_BY_US: Final = ("request_id", "tenant", "accepted_at")
"""Fields of a request that its caller does not set: the id and the time are made, the tenant comes from the key."""

_CORRECT: Final = "Correct the named fields and send it again; see /openapi.json."


def object_in(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`. Raises Problem 400."""
    try:
        fields = from_json(body, allow_inf_nan=False)
    except ValueError:
        raise Problem(400, "invalid_json", "the body is not valid JSON (UTF-8)", "Send one JSON object.") from None
    if not isinstance(fields, dict):
        raise Problem(400, "invalid_json", "the body is not a JSON object", "Send one JSON object.")
    return fields


def request_of(caller: Caller, fields: Mapping[str, Any], request_id: UUID) -> PromptRequest:
    """The request that a caller's fields make, accepted when its id was made.

    Raises Problem 400, and 403 where the caller's key does not allow the model.
    """
    if set_by_caller := [name for name in GIVEN_BY_US if name in fields]:
        detail = "; ".join(f"{name}: is given by the gateway" for name in set_by_caller)
        raise Problem(400, "invalid_request", detail, "Leave these fields out.")
    ours = {"request_id": request_id, "tenant": caller.tenant, "accepted_at": time_of(request_id)}
    try:
        request = request_from({**fields, **ours})
        check_template(request)
    except InvalidRequestError as error:
        raise Problem(400, "invalid_request", str(error), _CORRECT) from None
    return request


def check_model(caller: Caller, request: PromptRequest, default_model: str) -> None:
    """Raises Problem 403 where the caller's key does not allow the model that would be asked."""
    allowed = caller.allowed_models
    if allowed is None or (request.model or default_model) in allowed:
        return
    next_step = f"Name one of: {', '.join(sorted(allowed))}." if allowed else "Ask for a key that allows a model."
    raise Problem(403, "model_not_allowed", "the API key does not allow this model", next_step)
