"""`headrace bench`: how fast it is beside what it is built from, measured in one run."""

import json
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from ops.cli.errors import FAILED

if TYPE_CHECKING:
    from ops.bench.report import Report


class BenchName(StrEnum):
    """A bench, as a choice on the command line."""

    hits = "hits"
    slow_model = "slow-model"
    uncached = "uncached"
    sinks = "sinks"
    fleet = "fleet"
    savings = "savings"
    limits = "limits"
    fairness = "fairness"
    gateway = "gateway"
    gateway_bulk = "gateway-bulk"
    gateway_streams = "gateway-streams"
    gateway_wait = "gateway-wait"
    all = "all"


def bench(
    name: Annotated[BenchName, typer.Argument(help="Which bench; all takes some minutes.")],
    rounds: Annotated[int, typer.Option(min=1, max=50, help="Rounds of each bench; their median counts.")] = 3,
    minutes: Annotated[
        float, typer.Option(min=0.1, max=60, help="Of load, for limits (its bar: 5) and fairness.")
    ] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Measure on private servers, each figure beside what it is compared with; exit 1 when a bar is missed."""
    from rich.console import Console

    from ops.bench.report import merged
    from ops.bench.table import show

    names = [each for each in BenchName if each is not BenchName.all] if name is BenchName.all else [name]
    report = merged([_measured(each, rounds, minutes) for each in names])
    if as_json:
        print(json.dumps(report.to_json()))
    else:
        show(report, Console())
    if not report.ok:
        raise typer.Exit(FAILED)


def _measured(name: BenchName, rounds: int, minutes: float) -> "Report":
    from rich.console import Console

    from ops.bench import (
        fairness,
        fleet,
        gateway,
        gateway_bulk,
        gateway_sse,
        gateway_wait,
        hits,
        limits,
        sinks,
        slow_model,
        uncached,
    )
    from ops.bench.report import Report

    runs: dict[BenchName, Callable[[int], Report]] = {
        BenchName.hits: hits.run,
        BenchName.slow_model: slow_model.run,
        BenchName.uncached: uncached.run,
        BenchName.sinks: sinks.run,
        BenchName.fleet: fleet.run_fleet,
        BenchName.savings: fleet.run_savings,
        BenchName.limits: lambda rounds: limits.run(rounds, limits.Size(minutes=minutes)),
        BenchName.fairness: lambda rounds: fairness.run(rounds, fairness.Size(seconds=60 * minutes)),
        BenchName.gateway: gateway.run,
        BenchName.gateway_bulk: gateway_bulk.run,
        BenchName.gateway_streams: lambda _: gateway_sse.run(),
        BenchName.gateway_wait: gateway_wait.run,
    }
    with Console(stderr=True).status(f"measuring {name}, {rounds} rounds"):
        return runs[name](rounds)
