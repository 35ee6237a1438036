"""What a bulk upload sends: the same bytes each time it is sent, so that one that was cut can go on."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, Final, cast

from pydantic_core import to_json

from producers.client.calls import body_of
from schemas.request import PromptRequest

_PIECE_BYTES: Final = 256 * 1024
_IN_MEMORY_BYTES: Final = 8 * 1024 * 1024
_NDJSON: Final = "application/x-ndjson"
_MEDIA_TYPES: Final[Mapping[str, str]] = {
    ".jsonl": _NDJSON,
    ".ndjson": _NDJSON,
    ".json": "application/json",
    ".csv": "text/csv",
}


@dataclass(frozen=True, slots=True)
class UploadProgress:
    """How much of an upload is sent; it begins again at 0 when the upload is tried again."""

    sent_bytes: int
    total_bytes: int


OnProgress = Callable[[UploadProgress], None]
Source = Path | Iterable[PromptRequest | Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Upload:
    """An open file, read from its beginning each time it is sent."""

    media_type: str
    size_bytes: int
    on_progress: OnProgress | None = None
    _file: BinaryIO = field(repr=False, kw_only=True)

    def pieces(self) -> Iterator[bytes]:
        """The content, a piece at a time."""
        self._file.seek(0)
        sent = 0
        while piece := self._file.read(_PIECE_BYTES):
            yield piece
            sent += len(piece)
            if self.on_progress is not None:
                self.on_progress(UploadProgress(sent, self.size_bytes))


@contextmanager
def upload_of(source: Source, media_type: str | None, on_progress: OnProgress | None) -> Iterator[Upload]:
    """The upload of a file, or of requests, which are written aside first: an iterable can be gone through only once.

    Raises ValueError for a file whose name does not tell its form, OSError.
    """
    if isinstance(source, Path):
        kind = media_type or _media_type_of(source)
        with source.open("rb") as file:
            yield Upload(kind, source.stat().st_size, on_progress, _file=file)
        return
    with SpooledTemporaryFile(_IN_MEMORY_BYTES) as spool:
        for request in source:
            spool.write(to_json(body_of(request)) + b"\n")
        yield Upload(_NDJSON, spool.tell(), on_progress, _file=cast("BinaryIO", spool))


def _media_type_of(path: Path) -> str:
    kind = _MEDIA_TYPES.get(path.suffix.lower())
    if kind is None:
        raise ValueError(f"a file of requests ends in one of {', '.join(_MEDIA_TYPES)}; or give its `media_type`")
    return kind
