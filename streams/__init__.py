"""Every read from Kafka, and what happens to a record."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streams.subscribe import ResultSubscriber
    from streams.subscribe_async import AsyncResultSubscriber

__all__ = ["AsyncResultSubscriber", "ResultSubscriber"]

_HOME = {"ResultSubscriber": "streams.subscribe", "AsyncResultSubscriber": "streams.subscribe_async"}


def __getattr__(name: str) -> Any:
    # On demand: the runner and its rules load no Kafka client.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
