"""The board in memory: for tests, and for one worker alone."""

from collections.abc import Mapping

from streams.model.gate import Pause


class MemoryPauseBoard:
    """A PauseBoard that several gates of one process may share."""

    def __init__(self) -> None:
        self._pauses: dict[str, Pause] = {}

    async def read(self) -> Mapping[str, Pause]:
        return dict(self._pauses)

    async def put(self, scope: str, pause: Pause) -> bool:
        self._pauses[scope] = pause
        return True

    async def clear(self, scope: str) -> bool:
        self._pauses.pop(scope, None)
        return True
