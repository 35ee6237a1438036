"""`headrace rehearse`: the rehearsal model server."""

from pathlib import Path
from typing import Annotated

import typer

from ops.cli.errors import CommandError


def rehearse(
    host: Annotated[str, typer.Option(help="Keep it on loopback: it asks for no real key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one; the address is printed.")] = 0,
    latency_seconds: Annotated[
        float | None, typer.Option(min=0, help="A fixed latency; without it a median of 0.8 s and a p95 of 2.0 s.")
    ] = None,
    ledger: Annotated[Path | None, typer.Option(help="A file that keeps the calls over a restart.")] = None,
) -> None:
    """Serve made-up answers in the wire format of the Messages API, until SIGTERM or Ctrl-C.

    Point ANTHROPIC_BASE_URL at it. Faults, limits and latency: PUT /_rehearsal/settings; the bill: GET
    /_rehearsal/ledger and /_rehearsal/summary.
    """
    import asyncio

    from ops.rehearsal.server import serve
    from ops.rehearsal.settings import RehearsalSettings

    settings = RehearsalSettings()
    if latency_seconds is not None:
        settings = RehearsalSettings(latency_seconds=latency_seconds)
    try:
        asyncio.run(serve(host, port, settings, ledger))
    except OSError as error:
        reason = error.strerror or "it could not be opened"
        raise CommandError(
            f"the rehearsal server cannot start on {host}:{port}: {reason}", "headrace rehearse --port 0"
        ) from error
