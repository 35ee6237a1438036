"""`headrace sink`: results into a store."""

from typing import Annotated, Literal

import typer


def sink(
    store: Annotated[Literal["clickhouse", "postgres"], typer.Argument(help="Which store to write.")],
) -> None:
    """Write every result into a store, until SIGTERM; a store that is down is waited for."""
    from streams.logs import configure_logs
    from streams.settings import Settings
    from streams.sink_wiring import run_sink

    settings = Settings()
    configure_logs(settings.log_level, settings.log_format)
    raise typer.Exit(run_sink(store, settings))
