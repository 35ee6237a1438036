"""`headrace retries`: requests that wait, put back when they are due."""

import typer


def retries() -> None:
    """Put waiting requests back on their topic when they are due, until SIGTERM."""
    from streams.logs import configure_logs
    from streams.retries.wiring import run_retries
    from streams.settings import Settings

    settings = Settings()
    configure_logs(settings.log_level, settings.log_format)
    raise typer.Exit(run_retries(settings))
