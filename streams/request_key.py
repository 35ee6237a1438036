"""Under which key a request is paid: requests with one key share one paid answer."""

from streams.admission import Work
from streams.ledger.port import RequestKey


def request_key_of(work: Work) -> RequestKey:
    """Tenant and fingerprint; a request that shares no answer (`bypass`) has a key of its own."""
    shared = f"{work.request.tenant}:{work.fingerprint}"
    return RequestKey(f"{shared}:{work.request.request_id}" if work.request.cache.mode == "bypass" else shared)
