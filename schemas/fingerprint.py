"""When two requests may share one answer: equal fingerprints, and only then."""

import hashlib
import json
from typing import Any, Final

from schemas.identity import Fingerprint
from schemas.request import PromptRequest

FINGERPRINT_VERSION: Final = 1
"""Raised when the meaning of the fingerprint changes, so that no old answer is found under a new meaning."""

_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def fingerprint_of(request: PromptRequest, model: str) -> Fingerprint:
    """SHA-256 over everything that decides the answer, tenant included; `model` is the one that will be asked.

    Who asked, labels, deadline and cache policy are left out: they do not change the answer.
    """
    canonical = _CANONICAL.encode([FINGERPRINT_VERSION, request.tenant, model, request.max_tokens, _question(request)])
    return Fingerprint(hashlib.sha256(canonical.encode()).hexdigest())


def partition_key(request: PromptRequest) -> bytes:
    """Kafka key of a request: identical requests meet on one partition, hence in one worker."""
    return fingerprint_of(request, request.model or "").encode()


def _question(request: PromptRequest) -> Any:
    if request.template is not None:
        return [request.template, request.variables]
    return [request.system, [[turn.role, turn.content] for turn in request.messages or ()]]
