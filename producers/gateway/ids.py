"""Ids that prove themselves: every copy of the gateway knows an id that any of them gave out, without asking a store.

A version 7 UUID has 74 free bits. Ours hold, from the left: 26 random ones, a number of 24 (0 for a single request,
from 1 on for a bulk job's lines, the highest for the job itself), and 24 of a signature over all the rest and the
tenant.

So a request that was accepted a moment ago is never unknown, though no store has its row yet; another tenant's id looks
like no id at all; and the lines of one job lie in one range of ids, in their order. The signature decides nothing but
what is said of an id without a row: forging one (1 in 16 million) shows its own tenant a request that never was.
"""

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from producers.uuid7 import unix_ms_of, uuid7

NUMBER_BITS: Final = 24
JOB_NUMBER: Final = (1 << NUMBER_BITS) - 1
MAX_NUMBER: Final = JOB_NUMBER - 1
"""Of a line."""
_SIGNATURE_BITS: Final = 24
_RANDOM_BITS: Final = 26
_LOW_BITS: Final = 62


@dataclass(frozen=True, slots=True)
class IdRange:
    """All ids from `first` to `last`, both included."""

    first: UUID
    last: UUID


class SignedIds:
    """Makes and checks ids under one secret, the same for all copies of the gateway (at least 16 bytes)."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < 16:  # noqa: PLR2004 - what a signature of this kind needs
            raise ValueError("The gateway's secret has at least 16 bytes: set HEADRACE_GATEWAY_SECRET")
        self._secret = secret

    def new(self, tenant: str, unix_ms: int | None = None) -> UUID:
        """An id of a single request, of now or of the given time."""
        return self._new(tenant, unix_ms, 0)

    def new_job(self, tenant: str, unix_ms: int | None = None) -> UUID:
        """An id of a bulk job, of now or of the given time."""
        return self._new(tenant, unix_ms, JOB_NUMBER)

    def line(self, tenant: str, job: UUID, number: int) -> UUID:
        """The id of a job's line; always the same. Raises ValueError where `number` is not 1 to MAX_NUMBER."""
        if not 1 <= number <= MAX_NUMBER:
            raise ValueError(f"a job has lines 1 to {MAX_NUMBER}")
        return self._signed(tenant, unix_ms_of(job), _random_of(job), number)

    def numbering(self, tenant: str, job: UUID) -> Callable[[int], str]:
        """The same for many lines of one job, as text; numbers are not checked."""
        secret, unix_ms, random = self._secret, unix_ms_of(job), _random_of(job) << NUMBER_BITS
        stated = f"{tenant}\0{unix_ms}\0"
        high = uuid7(unix_ms, random << _SIGNATURE_BITS).int

        def line(number: int) -> str:
            digest = hmac.digest(secret, f"{stated}{random | number}".encode(), "sha256")
            digits = f"{high | number << _SIGNATURE_BITS | int.from_bytes(digest[:3], 'big'):032x}"
            return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

        return line

    def is_ours(self, tenant: str, identity: UUID) -> bool:
        """Whether it was given out to this tenant."""
        if identity.version != 7:  # noqa: PLR2004 - the only version we make
            return False
        expected = self._signed(tenant, unix_ms_of(identity), _random_of(identity), number_of(identity))
        return hmac.compare_digest(expected.bytes, identity.bytes)

    def is_our_job(self, tenant: str, identity: UUID) -> bool:
        """Whether it was given out to this tenant as the id of a job."""
        return number_of(identity) == JOB_NUMBER and self.is_ours(tenant, identity)

    def _new(self, tenant: str, unix_ms: int | None, number: int) -> UUID:
        return self._signed(tenant, unix_ms_of(uuid7(unix_ms)), secrets.randbits(_RANDOM_BITS), number)

    def _signed(self, tenant: str, unix_ms: int, random: int, number: int) -> UUID:
        body = random << NUMBER_BITS | number
        stated = f"{tenant}\0{unix_ms}\0{body}".encode()
        digest = hmac.digest(self._secret, stated, "sha256")
        signature = int.from_bytes(digest[:8], "big") >> (64 - _SIGNATURE_BITS)
        return uuid7(unix_ms, body << _SIGNATURE_BITS | signature)


def number_of(identity: UUID) -> int:
    """The line's number within its job; 0 for a single request, JOB_NUMBER for a job."""
    return _free_bits(identity) >> _SIGNATURE_BITS & JOB_NUMBER


def lines_of(job: UUID) -> IdRange:
    """Where the ids of a job's lines lie."""
    body = _random_of(job) << NUMBER_BITS
    first = uuid7(unix_ms_of(job), (body | 1) << _SIGNATURE_BITS)
    last = uuid7(unix_ms_of(job), (body | MAX_NUMBER) << _SIGNATURE_BITS | (1 << _SIGNATURE_BITS) - 1)
    return IdRange(first, last)


def _random_of(identity: UUID) -> int:
    return _free_bits(identity) >> (NUMBER_BITS + _SIGNATURE_BITS)


def _free_bits(identity: UUID) -> int:
    high = identity.int >> 64 & 0xFFF
    return high << _LOW_BITS | identity.int & ((1 << _LOW_BITS) - 1)
