"""How a bulk run looks while it goes on: a bar on a terminal, else one line per interval."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ops.bulk_run import BulkSummary

_LINE_SECONDS: Final = 5.0


@contextmanager
def progress_of(expected: int, stream: TextIO) -> Iterator[Callable[[BulkSummary], None]]:
    """A function to call with the books, as often as they change; `expected` requests are the whole."""
    if not stream.isatty():
        yield _lines(expected, stream)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("eta"), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=stream), transient=True) as bar:
        task = bar.add_task("publishing", total=expected)
        yield lambda books: bar.update(task, completed=books.results, description=told(books, expected))


def told(books: BulkSummary, expected: int) -> str:
    """The books in one line; the rate is results per second since the run began."""
    rate = books.results / books.seconds if books.seconds else 0.0
    return (
        f"{books.published}/{expected} published  {books.results} answered  {books.failed} failed  {books.hits} hits  "
        f"${books.cost_usd:.4f}  {rate:.0f}/s"
    )


def _lines(expected: int, stream: TextIO) -> Callable[[BulkSummary], None]:
    last = time.monotonic()

    def tell(books: BulkSummary) -> None:
        nonlocal last
        if time.monotonic() - last >= _LINE_SECONDS:
            last = time.monotonic()
            print(f"{told(books, expected)}  eta {_eta(books, expected)}", file=stream, flush=True)

    return tell


def _eta(books: BulkSummary, expected: int) -> str:
    if not books.results:
        return "?"
    return f"{max(0, expected - books.results) * books.seconds / books.results:.0f} s"
