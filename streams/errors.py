"""Failures by what to do next. Adapters translate into these once; nothing above them knows a client library."""

from collections.abc import Mapping


class ModelError(Exception):
    """A call that gave no answer.

    `code` is stable and safe to branch on: the API's `error_code`, else its error type, else a name of ours.
    `message` is the API's own sentence or ours; it never holds a prompt, an answer or a key.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class ModelBusy(ModelError):  # noqa: N818 - named for what to do next
    """Definitely not answered and not paid; ask again later, after `retry_after_seconds` where the API named a time.

    `limited` says that the API refused for rate (429): the limiter all workers share should pause, and the attempt
    is not the request's fault. `limits` holds the API's `anthropic-ratelimit-*` headers.
    """

    def __init__(
        self,
        code: str,
        message: str,
        retry_after_seconds: float | None = None,
        *,
        limited: bool = False,
        limits: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code, message)
        self.limits = limits or {}
        self.retry_after_seconds = retry_after_seconds
        self.limited = limited


class ModelPaused(ModelError):  # noqa: N818 - named for what to do next
    """Our account, key or spend cap refuses: pause every call and raise the alarm; no request is to blame."""


class ModelRejected(ModelError):  # noqa: N818 - named for what to do next
    """Final: the request will never be answered as it stands."""


class ModelUnavailable(ModelRejected):
    """The model is refused, not the request: unknown, retired, or not ours to use. Another may answer."""


class ModelAmbiguous(ModelError):  # noqa: N818 - named for what to do next
    """Sent, and no answer seen: it may have been paid. Asking again may pay twice."""
