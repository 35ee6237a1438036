"""How `up` tells what happens: a line per event, a spinner where somebody watches, a table at the end."""

import json
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self, TextIO

from ops.local.state import PartState, StackState

_NEXT = """
next: headrace submit "Why is the sky blue?" --wait
      headrace status
      headrace {end}"""

_REHEARSED = "Answers are rehearsed: no model is called. Set ANTHROPIC_API_KEY for real ones."


def table(parts: Sequence[PartState]) -> str:
    """One line per part, as wide as its longest cells."""
    rows = [("PART", "KIND", "PID", "ADDRESS", "HEALTH", "RESTARTS")]
    rows += [
        (
            part.name,
            part.kind,
            str(part.process.pid) if part.process else "-",
            part.address,
            "healthy" if part.healthy else "unhealthy",
            str(part.restarts),
        )
        for part in parts
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


class Progress:
    """Hears every state and tells what is new in it. Close it (or leave its block) to end the spinner."""

    def __init__(self, *, as_json: bool, detached: bool) -> None:
        self._as_json = as_json
        self._detached = detached
        self._out: TextIO = sys.stderr if as_json else sys.stdout
        self._started = time.monotonic()
        self._healthy: dict[str, bool] = {}
        self._restarts: dict[str, int] = {}
        self._phase = ""
        self._spinner = _Spinner(self._out)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spinner.stop()

    def __call__(self, state: StackState) -> None:
        for part in state.parts:
            self._tell_part(part, state)
        if state.phase != self._phase:
            self._phase = state.phase
            self._tell_phase(state)
        if state.phase == "starting":
            self._spinner.show(", ".join(part.name for part in state.parts if not part.healthy))

    def _tell_part(self, part: PartState, state: StackState) -> None:
        if part.restarts > self._restarts.get(part.name, 0):
            self.say(f"{part.name:<16} ended by itself; start {part.restarts + 1}. See: headrace logs {part.name}")
        elif part.healthy != self._healthy.get(part.name, False) and state.phase != "stopping":
            health = "ready" if part.healthy else "unhealthy"
            self.say(f"{part.name:<16} {health:<10} {part.address:<22} {self._seconds:5.1f} s")
        self._restarts[part.name] = part.restarts
        self._healthy[part.name] = part.healthy

    def _tell_phase(self, state: StackState) -> None:
        match state.phase:
            case "ready":
                self._spinner.stop()
                self._tell_ready(state)
            case "stopping":
                self._spinner.stop()
                self.say("stopping: work in hand is finished first; Ctrl-C again ends it at once")
            case "starting" | "failed":
                pass

    def _tell_ready(self, state: StackState) -> None:
        self.say(f"\n{table(state.parts)}\n\nready in {self._seconds:.1f} s")
        if state.rehearsed:
            self.say(_REHEARSED)
        self.say(_NEXT.format(end="down" if self._detached else "down   (or Ctrl-C here)"))
        if self._as_json:
            from ops.local.status import documents_of

            print(
                json.dumps(
                    {
                        "parts": documents_of(state.parts),
                        "rehearsed": state.rehearsed,
                        "seconds": round(self._seconds, 1),
                    }
                ),
                flush=True,
            )

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._started

    def say(self, line: str) -> None:
        self._spinner.pause()
        print(line, file=self._out, flush=True)


class _Spinner:
    """What is being waited for, on a terminal; nothing elsewhere."""

    def __init__(self, out: TextIO) -> None:
        from rich.console import Console

        self._console = Console(file=out)
        self._status = self._console.status("starting") if self._console.is_terminal else None

    def show(self, waiting_for: str) -> None:
        if self._status is not None:
            self._status.update(f"starting {waiting_for}" if waiting_for else "preparing the stores and topics")
            self._status.start()

    def pause(self) -> None:
        if self._status is not None:
            self._status.stop()

    stop = pause
