"""Results for eyes and for pipes. An answer is shown only on request: it is the customer's."""

from collections import deque
from collections.abc import Iterable
from typing import Final, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table

from schemas.result import PromptResult

_COLUMNS: Final = ("time", "tenant", "status", "source", "model", "tokens", "cost", "latency", "request id")
_OTHER_LINES: Final = 6
_ANSWER_CHARACTERS: Final = 60


def ndjson(results: Iterable[PromptResult], stream: TextIO, *, answers: bool) -> None:
    """One JSON document a line."""
    for result in results:
        left_out = None if answers else {"answer": {"text"}}
        print(result.model_dump_json(exclude_none=True, exclude=left_out), file=stream, flush=True)


def table(results: Iterable[PromptResult], stream: TextIO, *, answers: bool) -> None:
    """A live table of the latest on a terminal, else one line each."""
    console = Console(file=stream)
    if not console.is_terminal:
        for result in results:
            print("\t".join(_cells(result, answers)), file=stream, flush=True)
        return
    latest: deque[PromptResult] = deque(maxlen=max(1, console.height - _OTHER_LINES))
    with Live(_drawn(latest, answers), console=console, refresh_per_second=4) as live:
        for result in results:
            latest.append(result)
            live.update(_drawn(latest, answers))


def _drawn(latest: Iterable[PromptResult], answers: bool) -> Table:
    drawn = Table(*_COLUMNS, *(("answer",) if answers else ()))
    for result in latest:
        drawn.add_row(*_cells(result, answers))
    return drawn


def _cells(result: PromptResult, answers: bool) -> list[str]:
    timing = result.timing
    cells = [
        timing.completed_at.astimezone().strftime("%H:%M:%S"),
        result.tenant,
        result.status,
        result.source or "-",
        result.model or "-",
        f"{result.usage.input_tokens}+{result.usage.output_tokens}",
        "?" if result.cost_usd is None else f"${result.cost_usd:.5f}",
        f"{(timing.completed_at - timing.accepted_at).total_seconds():.2f}s",
        str(result.request_id),
    ]
    text = result.answer.text if result.answer else ""
    # One line, and nothing in it that a terminal would obey.
    printable = "".join(character if character.isprintable() else " " for character in text)
    return [*cells, printable[:_ANSWER_CHARACTERS]] if answers else cells
