"""The demo from start to end: stack up, fleet published and answered, books compared, stack down."""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Final

from ops.bulk_progress import progress_of
from ops.bulk_run import BulkOptions, run_bulk
from ops.demo.books import Books, dead_letter_count, model_book, store_books
from ops.demo.report import print_report
from producers.bulk import BulkDefaults, RejectedLine, requests_in
from producers.uuid7 import uuid7
from schemas.fingerprint import fingerprint_of
from schemas.request import PromptRequest
from streams.settings import Settings

_ANSWER_SECONDS: Final = 300.0
_SINK_SECONDS: Final = 30.0


class DemoFailedError(RuntimeError):
    """The books disagree; the message names the book."""


def run_demo(settings: Settings, file: Path | None = None, picture: Path | None = None) -> Books:
    """Publish the fleet to the running stack, wait for every result, compare. Raises DemoFailedError."""
    requests = fleet(file or Path(str(files("ops.examples") / "fleet.jsonl")))
    print(f"publishing {len(requests)} requests of a network team's fleet to llm.requests.bulk", file=sys.stderr)
    before = dead_letter_count(settings.kafka_connection)
    with progress_of(len(requests), sys.stderr) as progress:
        summary = run_bulk(requests, settings, progress, BulkOptions(timeout_seconds=_ANSWER_SECONDS))
    clickhouse, postgres = store_books(settings, requests[0].tenant, summary.published, _SINK_SECONDS)
    ids = [str(request.request_id) for request in requests]
    books = Books(
        summary=summary,
        unique_keys=len({fingerprint_of(each, each.model or settings.default_model) for each in requests}),
        dead_letters=dead_letter_count(settings.kafka_connection) - before,
        model=model_book(settings.model_url, ids) if settings.model_url else None,
        clickhouse=clickhouse,
        postgres=postgres,
    )
    print_report(settings, requests[0].tenant, books, picture)
    _write(settings.home / "demo.json", books)
    if culprits := books.disagreements():
        raise DemoFailedError("the books disagree: " + "; ".join(culprits))
    return books


def fleet(file: Path) -> Sequence[PromptRequest]:
    """The file's requests under a tenant of this run's own: no earlier run's answer or row can stand in for one."""
    tenant = f"demo-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    requests: list[PromptRequest] = []
    for line in requests_in(file, BulkDefaults(tenant, uuid7())):
        if isinstance(line, RejectedLine):
            raise DemoFailedError(f"{file.name}, line {line.number}: {line.reason}")
        requests.append(line.model_copy(update={"tenant": tenant}))
    return requests


def _write(path: Path, books: Books) -> None:
    path.write_text(json.dumps(books.as_json(), indent=1) + "\n")
