"""`MemoryLookup`: the RequestLookup contract without a store."""

from collections.abc import Sequence
from uuid import UUID

from producers.gateway.lookup import Calls, Known, StoredRequest, Wanted
from producers.gateway.status import live_status


class MemoryLookup:
    """Holds what it is given; `calls` of a request may be there before its row is."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, UUID], StoredRequest] = {}
        self.calls: dict[tuple[str, UUID], Calls] = {}

    def put(self, stored: StoredRequest) -> None:
        """Write one row, in place of any that was there."""
        self.rows[stored.tenant, stored.request_id] = stored

    async def find(self, tenant: str, request_id: UUID) -> Known:
        """See RequestLookup."""
        return self._known(tenant, request_id)

    async def page(self, wanted: Wanted) -> Sequence[Known]:
        """See RequestLookup."""
        found = [self._known(*place) for place, row in self.rows.items() if _is_wanted(row, wanted)]
        found = [each for each in found if wanted.status in {None, _status_of(each)}]
        return sorted(found, key=_place, reverse=True)[: wanted.limit]

    def _known(self, tenant: str, request_id: UUID) -> Known:
        stored = self.rows.get((tenant, request_id))
        waits = stored is None or stored.status == "pending"
        return Known(stored, self.calls.get((tenant, request_id), Calls()) if waits else Calls())


def _is_wanted(row: StoredRequest, wanted: Wanted) -> bool:
    after = wanted.after
    return (
        row.tenant == wanted.tenant
        and wanted.user_id in {None, row.user_id}
        and wanted.department in {None, row.department}
        and wanted.device in {None, row.labels.get("device_name")}
        and (wanted.since is None or row.accepted_at >= wanted.since)
        and (wanted.labels or {}).items() <= row.labels.items()
        and (after is None or (row.accepted_at, row.request_id) < (after.accepted_at, after.request_id))
    )


def _status_of(known: Known) -> str:
    return "" if known.stored is None else live_status(known.stored, known.calls)


def _place(known: Known) -> tuple[object, ...]:
    return () if known.stored is None else (known.stored.accepted_at, known.stored.request_id)
