"""A ledger that is away is waited for: without it there is no call, and nothing is lost by waiting."""

from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar

from streams.ledger.port import LedgerUnavailable
from streams.logs import logger_named

log = logger_named("paying")

Reply = TypeVar("Reply")


async def insist(
    ask: Callable[[], Awaitable[list[Reply]]],
    sleep: Callable[[float], Awaitable[None]],
    random: Random,
    give_up: Callable[[], None] = lambda: None,
) -> Reply:
    """The only reply of `ask`, as soon as the ledger gives it; `give_up` raises when waiting has lost its point."""
    tries = 0
    while True:
        try:
            return (await ask())[0]
        except LedgerUnavailable as error:
            if tries == 0:
                log.warning("ledger_unavailable", reason=str(error))
        tries += 1
        await sleep(min(0.25 * 2 ** min(tries, 4), 4.0) * (0.75 + random.random() / 2))
        give_up()
