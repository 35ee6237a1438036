"""What an error of the SDK means for the pipeline: one table, the API's `error_code` first.

https://platform.claude.com/docs/en/api/errors
"""

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Literal

import aiohttp
import anthropic
import httpx2

from streams.errors import ModelAmbiguous, ModelBusy, ModelError, ModelPaused, ModelRejected, ModelUnavailable
from streams.model.rate_headers import rate_headers

MAX_RETRY_AFTER_SECONDS: Final = 300.0
"""A longer `retry-after` is cut to this: one mistaken header must not park the pipeline for days."""

Meaning = Literal["limited", "busy", "paused", "unavailable", "rejected"]

_MEANING_OF_CODE: Final[Mapping[str, Meaning]] = {
    "ramp_limit_exceeded": "limited",
    "cmek_key_unreachable": "busy",
    "cmek_key_network_blocked": "paused",
    "cmek_key_disabled": "paused",
    "cmek_context_unavailable": "busy",
    "enforced_spend_limit_reached": "paused",
    "contract_spend_limit_reached": "paused",
    "linked_organization_spend_limit_reached": "paused",
    "linked_organization_billing_unavailable": "paused",
    "organization_on_hold": "paused",
    "organization_type_not_supported": "paused",
}

_MEANING_OF_STATUS: Final[Mapping[int, Meaning]] = {
    401: "paused",
    402: "paused",
    403: "paused",
    407: "paused",
    408: "busy",
    409: "busy",
    425: "busy",
    429: "limited",
    499: "busy",
}

# The 400 of a spend limit the customer set, or of an empty balance, has no code: its sentence is all there is.
_SPENT: Final = re.compile(
    r"reached your specified .*usage limit|spend(?:ing)? limit|credit balance is too low", re.IGNORECASE
)
# Nor has the refusal of a model: `model: claude-…` where it is unknown or retired, a sentence where it is not allowed.
# Its id must stand there: a sentence about models in general is about the account, and pauses.
_REFUSED_MODEL_STATUSES: Final = frozenset({403, 404, 410})
_REFUSED_MODEL: Final = re.compile(r"^model: |\bclaude-[a-z0-9]", re.IGNORECASE)
_LONGEST_MESSAGE: Final = 500

_NEVER_SENT: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
    ConnectionRefusedError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.UnsupportedProtocol,
)


def classify(error: anthropic.APIError, now: datetime) -> ModelError:
    """The failure by what to do next; `now` (timezone-aware) is what a `retry-after` date counts from."""
    if isinstance(error, anthropic.APIConnectionError):
        return _classify_connection(error)
    if isinstance(error, anthropic.APIStatusError):
        return _classify_status(error, now)
    return ModelAmbiguous("unreadable_answer", "the API's answer could not be read")


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds named by `retry-after-ms` or `retry-after` (number or HTTP date), within 0 and the cap; else None."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return _bounded(milliseconds / 1000)
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is None:
        seconds = _until_date(text, now)
    return None if seconds is None else _bounded(seconds)


def _classify_connection(error: anthropic.APIConnectionError) -> ModelError:
    if _was_never_sent(error):
        return ModelBusy("connection_failed", "no connection to the API; check ANTHROPIC_BASE_URL and the network")
    if isinstance(error, anthropic.APITimeoutError):
        return ModelAmbiguous("timeout", "the request was sent and no answer came in time")
    return ModelAmbiguous("connection_lost", "the connection was lost after the request was sent")


def _was_never_sent(error: BaseException) -> bool:
    causes = list(_chain(error))
    if any(isinstance(cause, _NEVER_SENT) for cause in causes):
        return True
    # The SDK's aiohttp transport calls every lost connection a ConnectError; httpx2's own means what it says.
    from_aiohttp = any(isinstance(cause, aiohttp.ClientError) for cause in causes)
    return not from_aiohttp and any(isinstance(cause, httpx2.ConnectError) for cause in causes)


def _chain(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__


def _classify_status(error: anthropic.APIStatusError, now: datetime) -> ModelError:
    code = error.error_code or error.type or f"http_{error.status_code}"
    message = (error.api_message or f"the API answered with status {error.status_code}")[:_LONGEST_MESSAGE]
    if error.status_code < 300:  # noqa: PLR2004 - an error event within a stream that had begun
        return ModelAmbiguous(code, message)
    headers = error.response.headers
    wait, limits = retry_after_seconds(headers, now), rate_headers(headers)
    match _meaning(error):
        case "limited":
            return ModelBusy(code, message, wait, limited=True, limits=limits)
        case "busy":
            return ModelBusy(code, message, wait, limits=limits)
        case "paused":
            return ModelPaused(code, message)
        case "unavailable":
            return ModelUnavailable(code, message)
        case "rejected":
            return ModelRejected(code, message)


def _meaning(error: anthropic.APIStatusError) -> Meaning:
    code = error.error_code
    if code is not None and code in _MEANING_OF_CODE:
        return _MEANING_OF_CODE[code]
    if code is not None and "spend_limit" in code:
        return "paused"
    if code is None and _refuses_model(error):
        return "unavailable"
    if error.status_code in _MEANING_OF_STATUS:
        return _MEANING_OF_STATUS[error.status_code]
    if error.status_code >= 500:  # noqa: PLR2004 - server errors, 529 included
        return "busy"
    return _meaning_of_refusal(error)


def _meaning_of_refusal(error: anthropic.APIStatusError) -> Meaning:
    # Not in the API's shape: something else answers at that address, and it would refuse every request.
    if error.type is None or (error.status_code == 400 and _SPENT.search(error.api_message or "")):  # noqa: PLR2004
        return "paused"
    return "rejected"


def _refuses_model(error: anthropic.APIStatusError) -> bool:
    in_the_apis_shape = error.type is not None and error.status_code in _REFUSED_MODEL_STATUSES
    return in_the_apis_shape and _REFUSED_MODEL.search(error.api_message or "") is not None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return None if math.isnan(value) else value


def _until_date(text: str | None, now: datetime) -> float | None:
    try:
        when = parsedate_to_datetime(text or "")
    except (ValueError, IndexError, OverflowError):
        return None
    return (when.replace(tzinfo=when.tzinfo or UTC) - now).total_seconds()


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)
