"""One item of an upload: a record that may be published, or why not."""

from datetime import datetime
from typing import Final
from uuid import UUID

from producers.building import InvalidRequestError, check_template, request_from
from producers.bulk import fields_of
from producers.bulk_split import RawItem
from producers.gateway.callers import Caller
from producers.gateway.ids import SignedIds
from producers.uuid7 import time_of
from schemas.codec import encode_request
from schemas.record import OutgoingRecord
from schemas.request import PromptRequest
from schemas.topics import BULK_REQUESTS, MAX_VALUE_BYTES

_OURS: Final = frozenset({"request_id", "tenant", "accepted_at"})


class ItemCheck:
    """Checks the items of one job. All it makes of an item follows from the job, its number and its content.

    So an item that is published again, after a copy died before it wrote down that it had, is the same record byte for
    byte: its id, its time (the job's) and its trace, which are the id's own digits.
    """

    def __init__(self, ids: SignedIds, caller: Caller, job: UUID, default_model: str) -> None:
        self._line = ids.numbering(caller.tenant, job)
        self._tenant = caller.tenant
        self._allowed_models = caller.allowed_models
        self._default_model = default_model
        self._accepted_at: datetime = time_of(job)

    def request(self, number: int, item: RawItem) -> PromptRequest | str:
        """The request of the job's item of that number, or why there is none."""
        fields = fields_of(item)
        if isinstance(fields, str):
            return fields
        if not _OURS.isdisjoint(fields):
            return f"{', '.join(sorted(_OURS & fields.keys()))}: given by the gateway, leave it out"
        ours = {"request_id": self._line(number), "tenant": self._tenant, "accepted_at": self._accepted_at}
        try:
            request = request_from({**fields, **ours})
            check_template(request)
        except InvalidRequestError as error:
            return str(error)
        allowed = self._allowed_models
        if allowed is not None and (request.model or self._default_model) not in allowed:
            return "model: the API key does not allow it"
        return request


def record_of(request: PromptRequest) -> OutgoingRecord | str:
    """Its record on the bulk lane, or why it cannot be published."""
    digits = request.request_id.hex
    record = encode_request(request, BULK_REQUESTS, f"00-{digits}-{digits[16:]}-01")
    size = len(record.value or b"")
    return record if size <= MAX_VALUE_BYTES else f"the request has {size} bytes, the limit is {MAX_VALUE_BYTES}"
