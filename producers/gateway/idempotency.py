"""`Idempotency-Key`: the port to what callers have sent under which key, and how a key is told from a bad one.

A key is taken before the request is published and marked after. Whoever repeats it gets the id of the first; where the
first ended between the two, the repeat publishes again under the same id, which is answered and paid once.
"""

import hashlib
from dataclasses import dataclass
from typing import Final, Literal, Protocol
from uuid import UUID

from producers.gateway.problems import Problem
from schemas.topics import Lane

LIFETIME_SECONDS: Final = 24 * 60 * 60
LEASE_SECONDS: Final = 10.0
"""How long one that began may take to publish; then a repeat takes over."""

_LONGEST_KEY: Final = 255

Verdict = Literal["begun", "repeated", "busy", "other_body"]


@dataclass(frozen=True, slots=True)
class KeyUse:
    """One use of a key: whose, what was sent, the id it gets if it is the first."""

    tenant: str
    key_hash: bytes
    body_hash: bytes
    request_id: UUID


@dataclass(frozen=True, slots=True)
class Begun:
    """What became of a use: `begun` and the id to publish under, `repeated` and the id given before, or a refusal."""

    verdict: Verdict
    request_id: UUID


class IdempotencyUnavailableError(Exception):
    """The store cannot be asked now; the caller is told to come again (503)."""


class IdempotencyStore(Protocol):
    """Remembers keys for a day. Every method raises IdempotencyUnavailableError."""

    async def begin(self, use: KeyUse) -> Begun:
        """Take the key, durably, unless somebody has."""
        ...

    async def confirm(self, use: KeyUse) -> None:
        """The broker has the record."""
        ...

    async def release(self, use: KeyUse, *, published: bool) -> None:
        """It ended otherwise: forget the key, or, where the record may be `published`, let a repeat take over."""
        ...


def key_use(tenant: str, key: str, lane: Lane, body: bytes, request_id: UUID) -> KeyUse:
    """The use of a key as it is stored: neither key nor body are. Raises Problem 400 for what is no key."""
    if not 0 < len(key) <= _LONGEST_KEY or not key.isascii() or not key.isprintable():
        detail = f"an Idempotency-Key has 1 to {_LONGEST_KEY} printable ASCII characters"
        raise Problem(400, "invalid_idempotency_key", detail, "Send another key, for example a UUID.")
    body_hash = hashlib.sha256(lane.encode() + b"\0" + body).digest()
    return KeyUse(tenant, hashlib.sha256(key.encode()).digest(), body_hash, request_id)


def refuse(begun: Begun) -> None:
    """Raises the Problem of a key that others hold; returns where there is none."""
    if begun.verdict == "busy":
        detail = "a request with this Idempotency-Key is being accepted at this moment"
        headers = {"Retry-After": "1"}
        raise Problem(409, "idempotency_key_in_progress", detail, "Send the same again in a second.", headers=headers)
    if begun.verdict == "other_body":
        detail = "this Idempotency-Key was used with another body within the last day"
        raise Problem(422, "idempotency_key_reused", detail, "Use a new key for a new request.")
