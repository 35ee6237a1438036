"""`headrace rehearse`: the rehearsal model server."""

from pathlib import Path


def rehearse(
    host: str = "127.0.0.1",
    port: int = 0,
    latency_seconds: float | None = None,
    ledger: Path | None = None,
) -> None:
    """Serve rehearsed answers with the wire format of the Messages API; port 0 takes a free one.

    Latency has a median of 0.8 s and a p95 of 2.0 s unless one fixed value is given; `ledger` keeps the calls
    over a restart. Faults and limits: PUT /_rehearsal/settings.
    """
    import asyncio

    from ops.rehearsal.server import serve
    from ops.rehearsal.settings import RehearsalSettings

    fixed = {} if latency_seconds is None else {"latency_seconds": latency_seconds}
    asyncio.run(serve(host, port, RehearsalSettings.model_validate(fixed), ledger))
