"""The port to the model: one prompt in, one reply out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from schemas.result import Usage


@dataclass(frozen=True, slots=True)
class ModelPrompt:
    """What is asked, in the shape of the Messages API. `request_id` goes along as `x-headrace-request-id`."""

    model: str
    max_tokens: int
    system: str | None
    messages: list[dict[str, Any]]
    request_id: str
    marks_system: bool = False
    """Whether the provider is to keep the prompt up to the end of `system`."""


@dataclass(frozen=True, slots=True)
class ModelReply:
    """What came back. `model` is the one that answered; `model_ms` the whole call as the caller saw it."""

    text: str
    stop_reason: str | None
    model: str
    usage: Usage
    model_ms: int
    limits: Mapping[str, str] = field(default_factory=dict)
    """The `anthropic-ratelimit-*` headers, where the API sent any."""


class Model(Protocol):
    """At most one call that may be paid per `answer`: an adapter never repeats one by itself."""

    async def answer(self, prompt: ModelPrompt, deadline_seconds: float) -> ModelReply:
        """The reply, within `deadline_seconds` from now.

        Raises ModelBusy, ModelPaused, ModelRejected, and ModelAmbiguous when the prompt may have been answered
        unseen, the deadline included. Cancelling the caller leaves the call just as ambiguous.
        """
        ...
