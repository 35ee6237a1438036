"""`headrace cancel`: take a request back."""

from typing import TYPE_CHECKING, Annotated

import typer

from ops.cli.errors import NOT_FOUND, USAGE, CommandError

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from schemas.control import CancelRequest
    from schemas.result import PromptResult
    from streams.settings import Settings

_DEFAULT_WAIT_SECONDS = 60.0


def cancel(
    request_id: Annotated[str, typer.Argument(help="The request's id.")],
    tenant: Annotated[str, typer.Option(help="Whose it is; another tenant's is left alone.")],
    by: Annotated[str, typer.Option(help="Who cancels; stands in the event.")] = "operator",
    wait: Annotated[bool, typer.Option("--wait", help="Wait for how the request ends.")] = False,
    timeout_seconds: Annotated[float, typer.Option(min=0.1, help="How long --wait waits.")] = _DEFAULT_WAIT_SECONDS,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Cancel a request that waits or is being answered. After its result it comes too late."""
    import json

    from streams.settings import Settings

    event = _event(request_id, tenant, by)
    settings = Settings()
    ended = _ended_before(settings, event) if wait else None
    if ended is None:
        result = _publish(settings, event, timeout_seconds if wait else None)
        ended = result.status if result is not None else None
    if as_json:
        print(json.dumps({"request_id": str(event.request_id), "tenant": tenant, "status": ended}))
    else:
        print(f"cancel of {event.request_id} published" if ended is None else f"{event.request_id} is {ended}")


def _event(request_id: str, tenant: str, by: str) -> "CancelRequest":
    from datetime import UTC, datetime

    from pydantic import ValidationError

    from schemas.control import CancelRequest

    given = {"request_id": request_id, "tenant": tenant, "by": by, "at": datetime.now(UTC)}
    try:
        return CancelRequest.model_validate(given)
    except ValidationError as error:
        field = error.errors()[0]["loc"][0]
        raise CommandError(f"{field} is not valid", "headrace cancel --help", USAGE) from None


def _publish(settings: "Settings", event: "CancelRequest", wait_seconds: float | None) -> "PromptResult | None":
    from contextlib import ExitStack

    from producers.blocking_publisher import BlockingPublisher
    from schemas.codec import encode_cancel
    from streams.framing import frame_of
    from streams.subscribe import ResultSubscriber

    with ExitStack() as held:
        # Subscribed before published: the end may come at once.
        subscriber = None
        if wait_seconds is not None:
            subscriber = held.enter_context(ResultSubscriber(settings.kafka_connection, tenant=event.tenant))
        publisher = BlockingPublisher(settings.kafka_connection, frame=frame_of(settings))
        held.callback(publisher.close)
        if not all(publisher.publish([encode_cancel(event)])):
            raise CommandError("the broker did not take the cancellation", "headrace status")
        if subscriber is None or wait_seconds is None:
            return None
        return _result_of(event.request_id, subscriber.poll, wait_seconds)


def _result_of(
    request_id: "UUID", poll: "Callable[[float], PromptResult | None]", wait_seconds: float
) -> "PromptResult":
    import time

    deadline = time.monotonic() + wait_seconds
    while (left := deadline - time.monotonic()) > 0:
        result = poll(min(left, 0.25))
        if result is not None and result.request_id == request_id:
            return result
    raise CommandError(
        f"the cancellation is published, and no result of {request_id} came within {wait_seconds:g} s: "
        "the request is not known, had ended before, or no worker runs",
        "headrace status",
        NOT_FOUND,
    )


def _ended_before(settings: "Settings", event: "CancelRequest") -> str | None:
    """How it had ended already, as far as Postgres knows; a store that is down knows nothing."""
    import psycopg

    query = "SELECT status FROM requests WHERE request_id = %s AND tenant = %s AND status <> 'pending'"
    try:
        with psycopg.connect(
            settings.postgres.get_secret_value(), connect_timeout=3, prepare_threshold=None
        ) as connection:
            row = connection.execute(query, (event.request_id, event.tenant)).fetchone()
    except psycopg.Error:
        return None
    return None if row is None else str(row[0])
