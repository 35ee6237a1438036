"""What a call of the gateway ends with when it is no success. No message holds a key, a prompt or an answer."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Told:
    """A problem document as far as callers act on it; `status` 0 is no answer at all."""

    status: int
    code: str
    detail: str
    next_step: str
    request_id: UUID | None = None
    job: UUID | None = None
    retry_after_seconds: float | None = None


class GatewayError(Exception):
    """Branch on `code`, read `detail`, do `next_step`."""

    def __init__(self, told: Told) -> None:
        about = f" (request {told.request_id})" if told.request_id is not None else ""
        super().__init__(f"{told.code}: {told.detail}{about}. {told.next_step}")
        self.status = told.status
        self.code = told.code
        self.detail = told.detail
        self.next_step = told.next_step
        self.request_id = told.request_id
        self.job = told.job
        """The bulk job it is about."""
        self.retry_after_seconds = told.retry_after_seconds


class CallRefusedError(GatewayError):
    """What was sent is not accepted, and will not be as it is."""


class KeyRefusedError(GatewayError):
    """The API key is unknown, or does not allow this."""


class BudgetSpentError(GatewayError):
    """A budget has nothing left; nothing was asked."""


class UnknownIdError(GatewayError):
    """There is none of that id for this key's tenant."""


class ConflictError(GatewayError):
    """It has ended, was cancelled, or goes on elsewhere."""


class PositionExpiredError(GatewayError):
    """A stream cannot go on behind that event: results since then are no longer kept as events."""


class TooManyRequestsError(GatewayError):
    """A quota, or the tenant's share of the queue, is used up for now."""


class GatewayUnavailableError(GatewayError):
    """The gateway, or what it stands on, is away."""


class GatewayUnreachableError(GatewayError):
    """No answer came."""


class UnreadableAnswerError(GatewayError):
    """An answer that makes no sense to this client: its text is not repeated."""


class WaitTimeoutError(GatewayError, TimeoutError):
    """It has not ended yet; it goes on, and can be waited for again."""


_OF_STATUS: dict[int, type[GatewayError]] = {
    0: GatewayUnreachableError,
    401: KeyRefusedError,
    402: BudgetSpentError,
    403: KeyRefusedError,
    404: UnknownIdError,
    409: ConflictError,
    410: PositionExpiredError,
    429: TooManyRequestsError,
}
_FIRST_OF_SERVERS = 500


def unreadable(status: int) -> UnreadableAnswerError:
    """The answer is a success, and none that is known."""
    detail = "the answer is none that this client knows"
    next_step = "Update the client, or see what stands between here and the gateway."
    return UnreadableAnswerError(Told(status, "unreadable_answer", detail, next_step))


def error_of(told: Told) -> GatewayError:
    """The error to raise."""
    usual = GatewayUnavailableError if told.status >= _FIRST_OF_SERVERS else CallRefusedError
    return _OF_STATUS.get(told.status, usual)(told)
