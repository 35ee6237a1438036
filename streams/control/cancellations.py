"""Which requests somebody has cancelled. Pure; it lives on one event loop and is fed by `KafkaControlReader`."""

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from schemas.control import CancelRequest

LIFETIME: Final = timedelta(hours=24)
_AT_MOST: Final = 100_000

_RANGES_AT_MOST: Final = 10_000

Cancelled = tuple[str, UUID]
"""Tenant and request id: an id alone is nobody's."""
OnCancel = Callable[[str, UUID], None]


class Cancellations:
    """Remembers each for a day, the newest 100,000 of them. An older or displaced one no longer counts.

    Ranges of ids, which bulk jobs are cancelled by, are remembered beside them, the newest 10,000.
    """

    def __init__(self, now: Callable[[], datetime], at_most: int = _AT_MOST) -> None:
        self._now = now
        self._at_most = at_most
        self._expiries: OrderedDict[Cancelled, datetime] = OrderedDict()
        self._ranges: OrderedDict[tuple[str, UUID, UUID], datetime] = OrderedDict()
        self._callbacks: list[OnCancel] = []

    def __len__(self) -> int:
        return len(self._expiries) + len(self._ranges)

    def is_cancelled(self, tenant: str, request_id: UUID) -> bool:
        """Whether that tenant has cancelled that request."""
        if self._expiries:
            expiry = self._expiries.get((tenant, request_id))
            if expiry is not None and self._now() < expiry:
                return True
        return bool(self._ranges) and self._is_in_a_range(tenant, request_id)

    def on_cancel(self, callback: OnCancel) -> None:
        """Have `callback` called with tenant and request id at each new cancellation of one request."""
        self._callbacks.append(callback)

    def note(self, cancel: CancelRequest) -> None:
        """Somebody has cancelled. Safe to repeat; one that is over a day old is passed over."""
        now = self._now()
        # A clock that runs ahead must not make it count for longer.
        expiry = min(cancel.at, now) + LIFETIME
        if expiry <= now:
            return
        if cancel.through is not None:
            self._ranges[cancel.tenant, cancel.request_id, cancel.through] = expiry
            while len(self._ranges) > _RANGES_AT_MOST or next(iter(self._ranges.values())) <= now:
                self._ranges.popitem(last=False)
            return
        place = (cancel.tenant, cancel.request_id)
        is_new = place not in self._expiries
        self._expiries[place] = expiry
        self._drop(now)
        if is_new:
            for callback in self._callbacks:
                callback(*place)

    def _is_in_a_range(self, tenant: str, request_id: UUID) -> bool:
        now = self._now()
        return any(
            of == tenant and first <= request_id <= last and now < expiry
            for (of, first, last), expiry in self._ranges.items()
        )

    def _drop(self, now: datetime) -> None:
        while self._expiries:
            place, expiry = next(iter(self._expiries.items()))
            if expiry > now and len(self._expiries) <= self._at_most:
                return
            del self._expiries[place]
