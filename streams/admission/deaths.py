"""Records a worker died at: after so many deaths one is set aside instead of taken again."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol, Self

from schemas.record import Record
from streams.offsets import Partition


class Place(NamedTuple):
    """Where a record lies."""

    topic: str
    partition: int
    offset: int

    @classmethod
    def of(cls, record: Record) -> Self:
        return cls(record.topic, record.partition, record.offset)

    @property
    def where(self) -> Partition:
        return Partition(self.topic, self.partition)


class DeathBook(Protocol):
    """Where workers write what they died at. A book that is away forgets; then a record kills once more."""

    async def read(self) -> Mapping[Place, int]:
        """Deaths by place; few, and read when a worker starts or follows one that died."""
        ...

    async def write(self, place: Place) -> None:
        """One more death."""
        ...
