"""Where a subscriber stands: the next offset of every partition, and its form as an opaque event id."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

from producers.gateway.feed import InvalidPositionError

Position = tuple[int, ...]
"""Next offset by partition number. A partition that is not in it was added later: all of it is still to come."""

_VERSION: Final = 1
_SIGNATURE_BYTES: Final = 9
MOST_PARTITIONS: Final = 1024
LONGEST_ID: Final = 16_384


def at(position: Sequence[int], partition: int) -> int:
    """The next offset of that partition."""
    return position[partition] if partition < len(position) else 0


def reaches(position: Sequence[int], other: Sequence[int]) -> bool:
    """Whether nothing before `other` is still to come."""
    return all(at(position, number) >= offset for number, offset in enumerate(other))


def furthest(one: Sequence[int], other: Sequence[int]) -> Position:
    """What has been seen by either."""
    return tuple(max(at(one, number), at(other, number)) for number in range(max(len(one), len(other))))


class EventIds:
    """Positions as event ids, signed for one tenant: a version, the offsets in as few bytes as they need, a signature.

    The same secret on all copies of the gateway: a stream goes on at any of them.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def encode(self, tenant: str, position: Sequence[int]) -> str:
        body = bytes([_VERSION]) + _packed(position)
        return base64.urlsafe_b64encode(body + self._signature(tenant, body)).decode().rstrip("=")

    def decode(self, tenant: str, event_id: str) -> Position:
        """Raises InvalidPositionError for what was not encoded here, for this tenant."""
        if not 0 < len(event_id) <= LONGEST_ID or not event_id.isascii():
            raise InvalidPositionError
        try:
            packed = base64.b64decode(event_id + "=" * (-len(event_id) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise InvalidPositionError from None
        body, signature = packed[:-_SIGNATURE_BYTES], packed[-_SIGNATURE_BYTES:]
        if not hmac.compare_digest(self._signature(tenant, body), signature) or body[:1] != bytes([_VERSION]):
            raise InvalidPositionError
        return _unpacked(body[1:])

    def _signature(self, tenant: str, body: bytes) -> bytes:
        stated = b"event\0" + tenant.encode() + b"\0" + body
        return hmac.digest(self._secret, stated, hashlib.sha256)[:_SIGNATURE_BYTES]


def _packed(offsets: Sequence[int]) -> bytes:
    """Seven bits a byte, the lowest first; the highest bit says that more follow."""
    packed = bytearray()
    for offset in offsets:
        rest = offset
        while rest > 0x7F:  # noqa: PLR2004 - seven bits
            packed.append(rest & 0x7F | 0x80)
            rest >>= 7
        packed.append(rest)
    return bytes(packed)


def _unpacked(packed: bytes) -> Position:
    offsets: list[int] = []
    offset = shift = 0
    for byte in packed:
        offset |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004 - the last byte of a number
            offsets.append(offset)
            offset = shift = 0
    if shift or len(offsets) > MOST_PARTITIONS:
        raise InvalidPositionError
    return tuple(offsets)
