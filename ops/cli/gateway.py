"""`headrace gateway`: takes requests over HTTP."""

import typer

from ops.cli.errors import CommandError


def gateway() -> None:
    """Accept requests over HTTP until SIGTERM; any number of copies behind any balancer."""
    import asyncio

    from ops.gateway_process import run_gateway
    from streams.access_wiring import PepperUnsetError
    from streams.gateway_wiring import MissingSecretError
    from streams.logs import configure_logs
    from streams.settings import Settings

    settings = Settings()
    configure_logs(settings.log_level, settings.log_format)
    try:
        code = asyncio.run(run_gateway(settings))
    except (MissingSecretError, PepperUnsetError) as error:
        raise CommandError(str(error), "headrace up, or set HEADRACE_GATEWAY_SECRET") from error
    raise typer.Exit(code)
