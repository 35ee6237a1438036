"""`python -m ops.rehearsal`: the rehearsal server without the CLI's weight."""

import argparse
import asyncio
from pathlib import Path

from ops.rehearsal.server import serve
from ops.rehearsal.settings import RehearsalSettings


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ops.rehearsal", description="Serve rehearsed model answers.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one; the address is printed")
    parser.add_argument("--latency-seconds", type=float, help="a fixed latency instead of median 0.8 s, p95 2.0 s")
    parser.add_argument("--ledger", type=Path, help="file to keep the calls in over a restart")
    given = parser.parse_args()
    settings = RehearsalSettings()
    if given.latency_seconds is not None:
        settings = RehearsalSettings(latency_seconds=given.latency_seconds)
    asyncio.run(serve(given.host, given.port, settings, given.ledger))


if __name__ == "__main__":
    main()
