"""The OpenAPI document of the whole gateway, generated from its routes and committed as `schemas/openapi.json`.

`python -m streams.gateway_documents` writes it, with `--check` it says whether the committed one is current.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import schemas
from producers.gateway.app import gateway_app
from producers.gateway.budgets import NoBudgets
from producers.gateway.bulk_book import NoLines
from producers.gateway.feed import NoFeed
from producers.gateway.health import Health
from producers.gateway.ids import SignedIds
from producers.gateway.load import NoLoad
from producers.gateway.quotas import NoQuotas
from producers.gateway.waiting import NoResults
from producers.memory_publisher import MemoryPublisher
from streams.bulk_jobs.memory_jobs import MemoryJobs
from streams.gateway.local_keys import LocalKeys
from streams.gateway.memory_idempotency import MemoryIdempotency
from streams.gateway.memory_lookup import MemoryLookup
from streams.gateway_wiring import BulkPorts, Ports, routers_of

PATH: Final = Path(schemas.__path__[0]) / "openapi.json"
WRITE_COMMAND: Final = "python -m streams.gateway_documents"


def document() -> str:
    """The text of the document as it is committed. No server is reached: it is built over memory."""
    ports = Ports(
        ids=SignedIds(bytes(16)),
        publisher=MemoryPublisher(),
        keys=LocalKeys(None),
        quotas=NoQuotas(),
        budgets=NoBudgets(),
        waiter=NoResults(),
        feed=NoFeed(),
        bulk=BulkPorts(MemoryJobs(time.monotonic), NoLines(), MemoryPublisher()),
        idempotency=MemoryIdempotency(time.monotonic),
        lookup=MemoryLookup(),
        load=NoLoad(),
        health=Health({}, {}),
        default_model="",
    )
    told: dict[str, Any] = gateway_app(routers_of(ports)).openapi()
    return json.dumps(told, indent=2) + "\n"


def is_current() -> bool:
    """Whether the committed document tells what the routes do."""
    return PATH.is_file() and PATH.read_text() == document()


def main(arguments: Sequence[str]) -> int:
    """Exit code of the command: 0 current or written, 1 stale, 2 wrong usage."""
    match list(arguments):
        case []:
            PATH.write_text(document())
            return 0
        case ["--check"]:
            if not is_current():
                print(f"{PATH.name} is stale; run: {WRITE_COMMAND}", file=sys.stderr)  # noqa: T201 - a command's answer
                return 1
            return 0
        case _:
            print(f"usage: {WRITE_COMMAND} [--check]", file=sys.stderr)  # noqa: T201 - the same
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
