"""A Kafka record as the pipeline sees it: bytes, and where they came from."""

from dataclasses import dataclass

Headers = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Record:
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
        """What holding this record costs, near enough for a bound."""
        return len(self.value or b"") + len(self.key or b"") + sum(len(k) + len(v) for k, v in self.headers)

    def header(self, name: str) -> str | None:
        """The last header of that name as text; None when absent or not UTF-8."""
        for key, value in reversed(self.headers):
            if key == name:
                try:
                    return value.decode()
                except UnicodeDecodeError:
                    return None
        return None


@dataclass(frozen=True, slots=True)
class OutgoingRecord:
    """A record to be written; the topic's partitioner places it by `key`."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
