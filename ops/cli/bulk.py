"""`headrace bulk run`: a file of requests, published and followed to the last result."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.cli.errors import INTERRUPTED, NOT_FOUND, PARTIAL, USAGE, CommandError

if TYPE_CHECKING:
    from ops.bulk_file import BulkFileRun


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
    prepared = BulkFileRun(file, results, timeout_seconds, Settings())
    _begin(prepared, tenant, lane, resume, restart)
    summary = _follow(prepared, file)
    print(json.dumps(summary) if as_json else _told(summary))
    if summary["unanswered"]:
        raise CommandError(
            f"{summary['unanswered']} requests have no result yet", f"headrace bulk run {file} --resume", PARTIAL
        )
    if summary["failed"] or summary["rejected_lines"]:
        raise typer.Exit(PARTIAL)


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
