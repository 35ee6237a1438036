"""Under which key a request is paid: requests with one key share one paid answer."""

from streams.admission import Work
from streams.ledger.port import RequestKey
from streams.sharing import request_keys_of


def request_key_of(work: Work) -> RequestKey:
    """The key that `work` tries now; see `streams/sharing.py` for their order."""
    return request_keys_of(work)[work.key_number]
