"""`headrace worker`: answers requests."""

from enum import StrEnum
from typing import Annotated

import typer

from ops.cli.errors import CommandError
from schemas.topics import Lane


class LaneName(StrEnum):
    """A lane, as a choice on the command line."""

    interactive = "interactive"
    bulk = "bulk"


def worker(
    lane: Annotated[list[LaneName] | None, typer.Option(help="Which requests to answer; may be given twice.")] = None,
) -> None:
    """Answer requests until SIGTERM; then finish what is in flight, commit and leave."""
    from streams.endpoint_settings import EndpointKeyError
    from streams.logs import configure_logs
    from streams.process import run_on_a_fast_loop
    from streams.settings import Settings
    from streams.wiring import MissingKeyError
    from streams.worker_process import run_worker

    lanes: list[Lane] = [each.value for each in lane or LaneName]
    settings = Settings()
    configure_logs(settings.log_level, settings.log_format)
    try:
        code = run_on_a_fast_loop(run_worker(settings, lanes))
    except MissingKeyError as error:
        raise CommandError(str(error), "headrace up") from error
    except EndpointKeyError as error:
        raise CommandError(str(error), "headrace worker, once it is there") from error
    raise typer.Exit(code)
