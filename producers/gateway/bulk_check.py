"""One item of an upload: a record that may be published, or why not.

An item that is plain is taken on a short way: the fields that we give are written before its own, and what is published
is checked as the worker will check it, bytes and all. Whatever that refuses, or may hide a field of ours or a name that
stands twice, is read the long way, as strictly as a single request, which finds the words for it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple
from uuid import UUID

from pydantic import ValidationError

from producers.building import InvalidRequestError, check_template, request_from
from producers.bulk_split import RawItem
from producers.gateway.callers import Caller
from producers.gateway.ids import SignedIds
from producers.gateway.strict_json import JsonRefusedError, strict_json
from producers.uuid7 import time_of
from schemas.codec import request_record
from schemas.record import OutgoingRecord
from schemas.request import Message, PromptRequest
from schemas.topics import BULK_REQUESTS, MAX_VALUE_BYTES

# The method of the model that calls it does little else, a hundred thousand times.
_VALIDATED: Final[Callable[[bytes], PromptRequest]] = PromptRequest.__pydantic_validator__.validate_json
_OURS: Final = frozenset({"request_id", "tenant", "accepted_at"})
_MESSAGE_FIELDS: Final = len(Message.model_fields)
"""All of them must be given."""


class CheckedItem(NamedTuple):
    """A request and the record of it on the bulk lane."""

    request: PromptRequest
    record: OutgoingRecord


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
        self._accepted_at = time_of(job)
        self._accepted_at_text = self._accepted_at.isoformat()

    def checked(self, number: int, item: RawItem) -> CheckedItem | str:
        """The job's item of that number, or why it is refused."""
        identity = self._line(number)
        plain = self._plain(identity, item.raw) if item.fields is None else None
        found = plain or self._any(identity, item)
        if isinstance(found, str):
            return found
        request, value = found
        try:
            check_template(request)
        except InvalidRequestError as error:
            return str(error)
        allowed = self._allowed_models
        if allowed is not None and (request.model or self._default_model) not in allowed:
            return "model: the API key does not allow it"
        if len(value) > MAX_VALUE_BYTES:
            return f"the request has {len(value)} bytes, the limit is {MAX_VALUE_BYTES}"
        digits = identity.replace("-", "")
        trace = f"00-{digits}-{digits[16:]}-01"
        return CheckedItem(
            request, request_record(request, BULK_REQUESTS, value, self._accepted_at_text, trace, identity)
        )

    def _plain(self, identity: str, raw: bytes) -> tuple[PromptRequest, bytes] | None:
        if raw[:1] != b"{" or b'"request_id"' in raw or b'"tenant"' in raw or b'"accepted_at"' in raw:
            return None
        if b"\\u00" in raw:  # an escape that may spell one of them, or NUL
            return None
        ours = f'{{"request_id":"{identity}","tenant":"{self._tenant}","accepted_at":"{self._accepted_at_text}",'
        value = ours.encode() + raw[1:]
        try:
            request = _VALIDATED(value)
        except ValidationError:
            return None
        return (request, value) if _has_each_name_once(raw, request) else None

    def _any(self, identity: str, item: RawItem) -> tuple[PromptRequest, bytes] | str:
        fields = _fields_of(item)
        if isinstance(fields, str):
            return fields
        if not _OURS.isdisjoint(fields):
            return f"{', '.join(sorted(_OURS & fields.keys()))}: given by the gateway, leave it out"
        ours = {"request_id": identity, "tenant": self._tenant, "accepted_at": self._accepted_at}
        try:
            request = request_from({**fields, **ours})
        except InvalidRequestError as error:
            return str(error)
        return request, request.model_dump_json(exclude_none=True).encode()


def _has_each_name_once(raw: bytes, request: PromptRequest) -> bool:
    """Whether no name stands twice in one object, for sure: reading took the last of its values without a word.

    Each pair of name and value has a colon, right behind a quotation mark unless white space stands between. So there
    are at most as many pairs as such colons; texts may only add to them. Where there are no more than fields that were
    read, none was passed over.
    """
    fields = len(request.model_fields_set) - len(_OURS) + len(request.labels) + len(request.variables)
    for message in request.messages or ():
        if not isinstance(message.content, str):  # blocks have fields of their own
            return False
        fields += _MESSAGE_FIELDS
    if "cache" in request.model_fields_set:
        fields += len(request.cache.model_fields_set)
    if raw.count(b":") == fields:
        return True
    has_loose_colons = b" :" in raw or b"\t" in raw or b"\n" in raw or b"\r" in raw
    return not has_loose_colons and raw.count(b'":') == fields


def _fields_of(item: RawItem) -> Mapping[str, Any] | str:
    """The fields an item gives, or why there are none."""
    if item.fields is not None:
        return "the character NUL stands for nothing in a text" if b"\0" in item.raw else item.fields
    try:
        fields = strict_json(item.raw)
    except JsonRefusedError as error:
        return f"not valid JSON (one object on one line): {error}"
    return fields if isinstance(fields, dict) else "not a JSON object"
