"""A PromptRequest from what a caller gave: the fields we fill in, and a refusal that never repeats the prompt."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from producers.uuid7 import uuid7
from schemas.request import PromptRequest
from schemas.templates import TemplateError, template_named


class InvalidRequestError(ValueError):
    """The fields make no request; the message names fields and rules, never the content."""


def request_from(fields: Mapping[str, Any]) -> PromptRequest:
    """A valid request; `request_id` is made when absent, `prompt` is short for one user message.

    Raises InvalidRequestError.
    """
    given = dict(fields)
    if (prompt := given.pop("prompt", None)) is not None:
        if "messages" in given:
            raise InvalidRequestError("give either `prompt` or `messages`: the first is short for one user message")
        given["messages"] = [{"role": "user", "content": prompt}]
    if "request_id" not in given:
        given["request_id"] = uuid7()
    try:
        return PromptRequest.model_validate(given)
    except ValidationError as error:
        raise InvalidRequestError(_told(error)) from None


def check_template(request: PromptRequest) -> None:
    """Refuse early what the worker would refuse late. Raises InvalidRequestError."""
    if request.template is None:
        return
    try:
        template_named(request.template).check(request.variables)
    except TemplateError as error:
        raise InvalidRequestError(str(error)) from None


def _told(error: ValidationError) -> str:
    problems = error.errors(include_input=False, include_url=False, include_context=False)
    # Below the field's own name a location may be a map's key, which is the caller's text.
    told = [f"{problem['loc'][0] if problem['loc'] else 'request'}: {problem['msg']}" for problem in problems[:5]]
    return "; ".join(dict.fromkeys(told))
