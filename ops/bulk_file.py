"""A bulk run of a file: its lines, its journal, its progress, its results file."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from ops.bulk_journal import BulkJournal, UnfinishedRunError, journal_path
from ops.bulk_progress import progress_of
from ops.bulk_run import BulkOptions, run_bulk
from producers.bulk import BulkDefaults, BulkFileError, RejectedLine, requests_in
from producers.uuid7 import time_of
from schemas.request import PromptRequest
from schemas.result import PromptResult
from schemas.topics import Lane
from streams.settings import Settings

# The broker's clock and ours may differ; reading a few more results is cheap.
_CLOCK_MARGIN: Final = timedelta(minutes=5)
_MOST_TOLD: Final = 20


class BulkFileRun:
    """Call `begin` or `resume`, then `follow`."""

    def __init__(self, file: Path, results: Path | None, timeout_seconds: float | None, settings: Settings) -> None:
        self.file = file
        self._results = results
        self._timeout_seconds = timeout_seconds
        self._settings = settings
        self._rejected = 0
        self._journal = BulkJournal(file_sha256="", tenant="", lane="bulk")

    def begin(self, tenant: str, lane: Lane, *, forget_unfinished: bool) -> None:
        """A new run. Raises UnfinishedRunError when the last one has not seen all its results."""
        earlier = None if forget_unfinished else BulkJournal.found(self.file)
        if earlier is not None and not earlier.finished:
            raise UnfinishedRunError(f"{self.file} has an unfinished run, {earlier.published} requests published")
        self._journal = BulkJournal.begin(self.file, tenant, lane)
        self._journal.save(self.file)  # before the first request: from here on the ids are fixed

    def resume(self) -> None:
        """The last run again: same ids, nothing published twice. Raises FileNotFoundError, FileChangedError."""
        earlier = BulkJournal.found(self.file)
        if earlier is None:
            raise FileNotFoundError(self.file)
        earlier.check(self.file)
        self._journal = earlier

    def follow(self) -> dict[str, Any]:
        """Publish, wait, write; the summary. Raises PublishError, BulkFileError."""
        journal, file = self._journal, self.file
        going_on = journal.published > 0
        with ExitStack() as held:
            progress = held.enter_context(progress_of(_lines_in(file), sys.stderr))
            options = BulkOptions(
                lane=journal.lane,
                timeout_seconds=self._timeout_seconds,
                start=time_of(journal.run_id) - _CLOCK_MARGIN if going_on else "now",
                already_published=journal.published,
                on_published=self._confirmed,
                on_result=self._writer(held),
            )
            summary = run_bulk(self._requests(), self._settings, progress, options)
        journal.finished = summary.unanswered == 0
        journal.save(file)
        return {"run_id": str(journal.run_id), **summary.as_json(), "rejected_lines": self._rejected}

    def _requests(self) -> Iterator[PromptRequest]:
        try:
            for line in requests_in(self.file, BulkDefaults(self._journal.tenant, self._journal.run_id)):
                if isinstance(line, RejectedLine):
                    self._reject(line)
                else:
                    yield line
        except BulkFileError:
            journal_path(self.file).unlink(missing_ok=True)  # nothing was published: there is no run to go on with
            raise

    def _reject(self, line: RejectedLine) -> None:
        self._rejected += 1
        if self._rejected <= _MOST_TOLD:
            print(f"line {line.number} rejected: {line.reason}", file=sys.stderr)
        elif self._rejected == _MOST_TOLD + 1:
            print("more lines are rejected; the summary counts them", file=sys.stderr)

    def _confirmed(self, published: int) -> None:
        self._journal.published = published
        self._journal.save(self.file)

    def _writer(self, held: ExitStack) -> Any:
        if self._results is None:
            return lambda _: None
        file = held.enter_context(self._results.open("w", encoding="utf-8"))

        def write(result: PromptResult) -> None:
            file.write(result.model_dump_json(exclude_none=True) + "\n")

        return write


def _lines_in(file: Path) -> int:
    with file.open("rb") as stream:
        return sum(1 for line in stream if line.strip())
