"""Every write to Kafka: the publisher and its adapters, the SDK that submits requests, and the one over HTTP."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from producers.async_request_producer import AsyncRequestProducer
    from producers.building import InvalidRequestError
    from producers.client import AsyncGatewayClient, GatewayClient, GatewayError
    from producers.publisher import PublishError
    from producers.request_producer import RequestProducer

__all__ = [
    "AsyncGatewayClient",
    "AsyncRequestProducer",
    "GatewayClient",
    "GatewayError",
    "InvalidRequestError",
    "PublishError",
    "RequestProducer",
]

_HOME = {
    "AsyncGatewayClient": "producers.client",
    "AsyncRequestProducer": "producers.async_request_producer",
    "GatewayClient": "producers.client",
    "GatewayError": "producers.client",
    "InvalidRequestError": "producers.building",
    "PublishError": "producers.publisher",
    "RequestProducer": "producers.request_producer",
}


def __getattr__(name: str) -> Any:
    # On demand: whoever needs one light module of this package does not load the Kafka client.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
