"""`headrace worker`: answers requests."""

from typing import Annotated, Literal

import typer


def worker(
    lane: Annotated[
        list[Literal["interactive", "bulk"]] | None, typer.Option(help="Which requests to answer; may be given twice.")
    ] = None,
) -> None:
    """Answer requests until SIGTERM; then finish what is in flight, commit and leave."""
    import asyncio

    from streams.logs import configure_logs
    from streams.settings import Settings
    from streams.wiring import run_worker

    settings = Settings()
    configure_logs(settings.log_level, settings.log_format)
    raise typer.Exit(asyncio.run(run_worker(settings, lane or ["interactive", "bulk"])))
