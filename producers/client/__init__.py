"""The SDK of the gateway: what callers over HTTP use instead of Kafka.

`calls`, `patience`, `talk` and `reading` decide what is asked, what an answer means and what is tried again; they do no
I/O. `gateway_client` and `async_gateway_client` carry it out, with threads and with asyncio.
"""

from producers.client.async_gateway_client import AsyncGatewayClient
from producers.client.documents import BulkResult, StreamedResult, Submitted, has_ended
from producers.client.errors import (
    BudgetSpentError,
    CallRefusedError,
    ConflictError,
    GatewayError,
    GatewayUnavailableError,
    GatewayUnreachableError,
    KeyRefusedError,
    PositionExpiredError,
    TooManyRequestsError,
    UnknownIdError,
    UnreadableAnswerError,
    WaitTimeoutError,
)
from producers.client.gateway_client import GatewayClient
from producers.client.http import Timeouts
from producers.client.patience import Patience
from producers.client.uploads import UploadProgress

__all__ = [
    "AsyncGatewayClient",
    "BudgetSpentError",
    "BulkResult",
    "CallRefusedError",
    "ConflictError",
    "GatewayClient",
    "GatewayError",
    "GatewayUnavailableError",
    "GatewayUnreachableError",
    "KeyRefusedError",
    "Patience",
    "PositionExpiredError",
    "StreamedResult",
    "Submitted",
    "Timeouts",
    "TooManyRequestsError",
    "UnknownIdError",
    "UnreadableAnswerError",
    "UploadProgress",
    "WaitTimeoutError",
    "has_ended",
]
