"""Whom an answer may be served, and under which keys a request looks for one. Pure; this module decides, others do.

A request's *fingerprint* leaves out the name of its device where that can be exchanged in an answer; its *own*
fingerprint holds everything. Devices with the same wishes have one fingerprint and an own one each.

Who claims what. A request asks the ledger for its keys one after the other until an answer serves it:

1. the fleet's key (the fingerprint), claimed by whoever comes first. Every other request with that fingerprint waits;
2. the fleet's second key, only once the first is answered and does not serve. An answer that cannot be exchanged, or
   that its check refused, stays in its row for as long as it lives: its payer gets the same bytes again (C), and
   nobody pays under that key meanwhile (P). A model that answers badly once does not make every device pay;
3. its own key, where it has one: from here each device pays for itself, at most once;
4. a key of its own id. Only where a check refused what was paid under all the others.

Where calls under a fleet's key came to an unknown end twice, its devices go on under the next: one that nobody saw
answered does not hold up three hundred (with the policy `fail` it does: nothing is repeated then).

`bypass` knows the last alone. A key is claimed, sent, settled by the payer's rules as any other; one answer is settled
in one row, so that no crash can lie between a marker and an answer. An answer to all goes to the cache under the
fingerprint, one for a device under its own; one for its payer alone into no cache.

An answer is exchangeable when the value stands in it, always whole and in its own case, and nothing else in it can have
come from the value: no other spelling, no part of it that the rest of the request does not hold. Before it is served to
another device, its check looks at what that device would get.
"""

import re
from collections.abc import Iterator
from typing import Final

from schemas.identity import Fingerprint
from schemas.result import Answer
from streams.admission import Work
from streams.cache.port import CacheKey, cache_key_of
from streams.cache.stored_answer import EVERYONE, NOBODY_ELSE, CacheEntry, StoredAnswer
from streams.ledger.port import RequestKey
from streams.validation import checked, validator_of

_SECOND: Final = "2"
_PART: Final = re.compile(r"[A-Za-z0-9]+")
_LEAST_TELLING: Final = 3
"""A shorter part of a name, `03` or `ac`, says nothing of where it came from."""
_SQUEEZED: Final = re.compile(r"[\W_]+")


def request_keys_of(work: Work) -> tuple[RequestKey, ...]:
    """The keys under which `work` may be paid, in the order they are tried."""
    fleet = f"{work.request.tenant}:{work.fingerprint}"
    alone = f"{fleet}:{work.request.request_id}"
    if work.request.cache.mode == "bypass":
        return (RequestKey(alone),)
    own = () if work.own == work.fingerprint else (f"{work.request.tenant}:{work.own}",)
    return tuple(RequestKey(key) for key in (fleet, f"{fleet}:{_SECOND}", *own, alone))


def is_shared_by_a_fleet(work: Work) -> bool:
    """Whether the key that `work` tries is one of its fleet, with keys of its own still to come."""
    fleets_keys = 2
    return work.own != work.fingerprint and work.request.cache.mode != "bypass" and work.key_number < fleets_keys


def cache_keys_of(work: Work) -> tuple[CacheKey, ...]:
    """Where an answer for `work` may lie: its fingerprint's, and its own where it has one."""
    shared = cache_key_of(work.request.tenant, work.fingerprint)
    return (shared,) if work.own == work.fingerprint else (shared, cache_key_of(work.request.tenant, work.own))


def cache_key_for(work: Work, entry: CacheEntry) -> CacheKey | None:
    """Where an answer paid or found under a key of `work` is to be kept; None: in no cache."""
    if work.request.cache.mode == "bypass" or entry.audience == NOBODY_ELSE:
        return None
    kept = work.fingerprint if entry.audience == EVERYONE else Fingerprint(entry.audience)
    return cache_key_of(work.request.tenant, kept)


def entry_for(work: Work, stored: StoredAnswer) -> CacheEntry:
    """What is kept of the answer that `work` has paid for."""
    if stored.validation is not None and not stored.validation.valid:
        return CacheEntry.of(stored, NOBODY_ELSE)
    if is_exchangeable(work, stored.answer):
        return CacheEntry.of(stored, EVERYONE, work.left_out)
    return CacheEntry.of(stored, work.own)


def served(work: Work, entry: CacheEntry) -> CacheEntry | None:
    """`entry` as `work` gets it, its own values filled in; None where it is not for `work`."""
    if entry.audience == EVERYONE and not work.left_out and validator_of(work.request) is None:
        return entry  # nothing to fill in, nothing to check: most hits of plain prompts end here
    if entry.paid_by == str(work.request.request_id):
        return entry.filled(work.left_out)
    if entry.audience not in (EVERYONE, work.own):
        return None
    filled = entry.filled(work.left_out)
    return filled if _is_fit(work, filled) else None


def is_outdated(work: Work, entry: CacheEntry) -> bool:
    """Whether an invalidation lies between this answer and `work`; what a request paid for is always its answer."""
    return entry.asked_at_ms < work.fresh_since_ms and entry.paid_by != str(work.request.request_id)


def may_have_paid_before(work: Work, entry: CacheEntry) -> bool:
    """Whether `work` may have paid for an answer that this one took the place of; if so, the ledger has it."""
    older = work.record.timestamp_ms < entry.asked_at_ms
    return entry.renewed and older and entry.paid_by != str(work.request.request_id)


def is_exchangeable(work: Work, answer: Answer) -> bool:
    """Whether an answer for this device serves any other with the same wishes, once the names are exchanged."""
    others = " ".join(value for value in work.request.variables.values() if value not in work.left_out)
    return all(_only_whole(value, answer.text, others) for value in work.left_out)


def _is_fit(work: Work, filled: CacheEntry) -> bool:
    validator = validator_of(work.request)
    if validator is None or (not work.left_out and filled.checked == validator.reference):
        return True
    found = checked(work.request, filled.answer())
    return found is None or found.valid


def _only_whole(value: str, text: str, others: str) -> bool:
    whole = re.compile(rf"(?<![\w./:@\\-]){re.escape(value)}(?![\w/:@\\-]|\.\w)")
    rest, count = whole.subn("\n", text)
    if count == 0:
        return False
    squeezed = _SQUEEZED.sub("", rest).casefold()
    if _SQUEEZED.sub("", value).casefold() in squeezed:
        return False
    folded, known = rest.casefold(), others.casefold()
    return not any(_stands_in(part, folded) and not _stands_in(part, known) for part in _telling_parts(value))


def _telling_parts(value: str) -> Iterator[str]:
    """`osl-01-acc-03`: `osl`, `acc`, `osl-01`, `01-acc`, `acc-03`, `osl-01-acc`, `01-acc-03`."""
    spans = [found.span() for found in _PART.finditer(value.casefold())]
    for first, (start, _) in enumerate(spans):
        for _, end in spans[first:]:
            part = value.casefold()[start:end]
            if _LEAST_TELLING <= len(part) < len(value) and not part.isdigit():
                yield part


def _stands_in(part: str, text: str) -> bool:
    return re.search(rf"(?<![a-z0-9]){re.escape(part)}(?![a-z0-9])", text) is not None
