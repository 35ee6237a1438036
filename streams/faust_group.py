"""aiokafka's group coordinator without the way in which it comes to hang.

It keeps an error that it does not take for a passing one until its user asks for it, and does nothing more meanwhile.
Faust never asks. And a broker that comes up answers "which offsets are committed?" with an error that is handed on
wrapped, as one that does not pass: that partition then has no position, and nothing at all is fetched from its broker.
So that question is asked again, and whatever else is kept is asked for: what passes is then tried again.
"""

from typing import Any

from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError
from faust.transport.drivers.aiokafka import Consumer

from streams.logs import logger_named

log = logger_named("faust_worker")

_refresh_once = GroupCoordinator._maybe_refresh_commit_offsets  # noqa: SLF001 - held by a contract test


def install() -> None:
    """For every consumer of this process; safe to repeat."""
    GroupCoordinator._maybe_refresh_commit_offsets = _refresh  # noqa: SLF001


async def take_error(consumer: Consumer) -> KafkaError | None:
    """What the coordinator waits for somebody to ask for, which goes on then; None when it is well."""
    inner = getattr(consumer._thread, "_consumer", None)  # noqa: SLF001
    if inner is None or inner._coordinator._pending_exception is None:  # noqa: SLF001
        return None
    try:
        await consumer._thread.call_thread(inner._coordinator.check_errors)  # noqa: SLF001
    except KafkaError as error:
        return error
    return None


async def _refresh(coordinator: Any, assignment: Any) -> bool:
    """Whether it was done; if not, it is asked for again a moment later."""
    try:
        done: bool = await _refresh_once(coordinator, assignment)
    except GroupAuthorizationFailedError:
        raise
    except KafkaError as error:
        log.warning("committed_offsets_unknown", reason=str(error))
        return False
    return done
