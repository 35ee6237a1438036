"""How the stack is right now: what its supervisor last wrote, checked against the processes themselves."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ops.local.home import Home
from ops.local.state import PartState, read_state


@dataclass(frozen=True, slots=True)
class Status:
    parts: tuple[PartState, ...]
    lag: dict[str, int]
    trouble: str | None
    """What is wrong, in one sentence; None when all is well."""

    def document(self) -> dict[str, Any]:
        return {"parts": documents_of(self.parts), "lag": self.lag}


def documents_of(parts: Sequence[PartState]) -> list[dict[str, Any]]:
    """The parts in the shape that `status --json` promises."""
    return [
        {
            "name": part.name,
            "kind": part.kind,
            "pid": part.process.pid if part.process else None,
            "address": part.address,
            "healthy": part.healthy,
        }
        for part in parts
    ]


def status_of(home: Home) -> Status | None:
    """None when no supervisor works here."""
    state = read_state(home)
    if state is None or state.supervisor.find() is None:
        return None
    parts = tuple(_checked(part) for part in state.parts)
    lag, silence = _lag(home)
    unwell = [part.name for part in parts if not part.healthy]
    if state.phase != "ready":
        return Status(parts, lag, f"The stack is {state.phase}.")
    if unwell:
        return Status(parts, lag, state.error or f"Unhealthy: {', '.join(unwell)}.")
    return Status(parts, lag, silence)


def _checked(part: PartState) -> PartState:
    """The supervisor looks every few seconds; a process that has ended since is seen here at once."""
    alive = part.process is not None and part.process.find() is not None
    return part if alive else replace(part, process=None, healthy=False)


def _lag(home: Home) -> tuple[dict[str, int], str | None]:
    """The lag, or why there is none."""
    from confluent_kafka import KafkaException

    from ops.local.lag import lag_per_topic

    try:
        return lag_per_topic(json.loads(home.endpoints.read_text())["kafka"]), None
    except (OSError, ValueError, KeyError):
        return {}, None
    except KafkaException as error:
        return {}, f"Kafka does not tell the lag: {error.args[0].str()}."
