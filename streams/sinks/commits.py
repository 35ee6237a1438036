"""What is written and not yet confirmed as committed: sent without waiting, and again until the broker has it. Pure."""

from collections.abc import Collection, Mapping

from streams.sinks.batching import Partition

NextOffsets = Mapping[Partition, int]


class Commits:
    """At most one is under way; what became due meanwhile goes with the next one, each partition at its furthest."""

    def __init__(self) -> None:
        self._unconfirmed: dict[Partition, int] = {}
        self._under_way = False

    @property
    def unconfirmed(self) -> dict[Partition, int]:
        return dict(self._unconfirmed)

    def add(self, next_offsets: NextOffsets) -> None:
        self._unconfirmed |= next_offsets

    def to_send(self) -> dict[Partition, int]:
        """All that is unconfirmed, under way from now on; nothing while another is."""
        if self._under_way:
            return {}
        self._under_way = bool(self._unconfirmed)
        return self.unconfirmed

    def answered(self, taken: NextOffsets) -> None:
        """The one under way has ended; the broker has `taken` of it, which may be none."""
        self._under_way = False
        self.confirm(taken)

    def confirm(self, taken: NextOffsets) -> None:
        for place, offset in taken.items():
            if self._unconfirmed.get(place) == offset:
                del self._unconfirmed[place]

    def forget(self, partitions: Collection[Partition]) -> None:
        """They are another member's now, and so are their offsets."""
        for place in partitions:
            self._unconfirmed.pop(place, None)
