"""A Kafka record as the pipeline sees it: bytes, and where they came from."""

from typing import Final, NamedTuple

Headers = tuple[tuple[str, bytes | None], ...]

HEADER_BYTES: Final = 128


class Record(NamedTuple):
    """A record that was read. `generation` is the group membership it was fetched under (0 outside a group).

    `read_error` is set when the client library could not parse the record; then `value` holds what bytes there are.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int
    generation: int = 0
    read_error: str | None = None

    @property
    def size_bytes(self) -> int:
        """What holding this record costs, near enough for a bound; a header counts as `HEADER_BYTES`."""
        return len(self.value or b"") + len(self.key or b"") + HEADER_BYTES * len(self.headers)

    def header(self, name: str) -> str | None:
        """The last header of that name as text; None when absent, null or not UTF-8."""
        value = dict(self.headers).get(name)  # a dictionary keeps the last of several, and is made without a loop
        if value is None:
            return None
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None


class OutgoingRecord(NamedTuple):
    """A record to be written; the topic's partitioner places it by `key`."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
