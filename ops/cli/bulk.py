"""`headrace bulk run`: a file of requests, published and followed to the last result."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.cli.errors import INTERRUPTED, NOT_FOUND, PARTIAL, USAGE, CommandError

if TYPE_CHECKING:
    from ops.bulk_file import BulkFileRun
    from streams.settings import Settings


def run(  # noqa: PLR0913, PLR0917 - one parameter for each option of the command
    file: Annotated[
        Path, typer.Argument(help="FILE.jsonl (a request a line) or FILE.csv (device_name, requirements, ...).")
    ],
    tenant: Annotated[str, typer.Option(help="Tenant of lines that name none.")] = "default",
    lane: Annotated[str, typer.Option(help="bulk or interactive.")] = "bulk",
    results: Annotated[Path | None, typer.Option(help="Write every result to this JSONL file.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the last run; asks nothing twice.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Forget an unfinished run and ask everything.")] = False,
    timeout_seconds: Annotated[float | None, typer.Option(min=0.1, help="Stop waiting for results after this.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask no confirmation, whatever it costs.")] = False,
    confirm_above: Annotated[
        float | None,
        typer.Option(min=0, metavar="USD", help="Ask first when more is expected; on a terminal the default is 5."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The summary as one JSON document.")] = False,
) -> None:
    """Publish every valid line, follow the results, sum them up; exit 4 when some lines or answers are missing."""
    import json

    from ops.bulk_file import BulkFileRun
    from streams.settings import Settings

    if not file.is_file():
        raise CommandError(f"there is no file {file}", None, NOT_FOUND)
    if lane not in {"bulk", "interactive"}:
        raise CommandError("--lane takes bulk or interactive", "headrace bulk run --help", USAGE)
    settings = Settings()
    prepared = BulkFileRun(file, results, timeout_seconds, settings)
    if not yes and (confirm_above is not None or sys.stdin.isatty()):
        _confirm(file, tenant, resume, settings, confirm_above)
    _begin(prepared, tenant, lane, resume, restart)
    summary = _follow(prepared, file)
    print(json.dumps(summary) if as_json else _told(summary))
    if summary["unanswered"]:
        raise CommandError(
            f"{summary['unanswered']} requests have no result yet", f"headrace bulk run {file} --resume", PARTIAL
        )
    if summary["failed"] or summary["rejected_lines"]:
        raise typer.Exit(PARTIAL)


def _confirm(file: Path, tenant: str, resume: bool, settings: "Settings", above_usd: float | None) -> None:
    """Before anything is written or published. A price nobody knows is above every threshold."""
    from ops.bulk_journal import BulkJournal
    from ops.cost.estimate_view import words_of
    from ops.cost.file import estimate_file
    from producers.bulk import BulkFileError

    earlier = BulkJournal.found(file) if resume else None
    try:
        told = estimate_file(file, earlier.tenant if earlier else tenant, settings, earlier.published if earlier else 0)
    except BulkFileError as error:
        raise CommandError(f"{file}: {error}", None, USAGE) from error
    threshold = settings.confirm_above_usd if above_usd is None else above_usd
    if told.expected_usd <= threshold and not told.unpriced_calls:
        return
    print(words_of(told), "Publish? [y/N] ", sep="\n", end="", file=sys.stderr, flush=True)
    try:
        answer = sys.stdin.readline()
    except KeyboardInterrupt:
        raise CommandError("interrupted; nothing was published", None, INTERRUPTED) from None
    if answer.strip().lower() not in {"y", "yes"}:
        raise CommandError("not confirmed; nothing was published", f"headrace bulk run {file} --yes")


def _begin(prepared: "BulkFileRun", tenant: str, lane: Any, resume: bool, restart: bool) -> None:
    from ops.bulk_journal import FileChangedError, UnfinishedRunError

    again = f"headrace bulk run {prepared.file}"
    try:
        if resume:
            prepared.resume()
        else:
            prepared.begin(tenant, lane, forget_unfinished=restart)
    except FileNotFoundError as error:
        raise CommandError(f"{prepared.file} has no earlier run to go on with", again, NOT_FOUND) from error
    except FileChangedError as error:
        raise CommandError(f"{error}; start over", f"{again} --restart", USAGE) from error
    except UnfinishedRunError as error:
        raise CommandError(f"{error}; --restart asks everything again", f"{again} --resume", USAGE) from error


def _follow(prepared: "BulkFileRun", file: Path) -> dict[str, Any]:
    from producers.bulk import BulkFileError
    from producers.publisher import PublishError

    again = f"headrace bulk run {file} --resume"
    try:
        return prepared.follow()
    except KeyboardInterrupt:
        raise CommandError("interrupted; what is published will be answered", again, INTERRUPTED) from None
    except PublishError as error:
        raise CommandError(str(error), again) from error
    except BulkFileError as error:
        raise CommandError(f"{file}: {error}", None, USAGE) from error


def _told(summary: dict[str, Any]) -> str:
    return (
        f"{summary['published']} published, {summary['results']} results ({summary['hits']} not paid, "
        f"{summary['failed']} failed), {summary['unanswered']} unanswered, {summary['rejected_lines']} lines rejected\n"
        f"cost ${summary['cost_usd']:.6f}, saved ${summary['saved_usd']:.6f}, {summary['seconds']:.1f} s, "
        f"run {summary['run_id']}"
    )
