"""`headrace up`, `down`, `status`, `logs`: the local stack."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.cli.errors import NOT_FOUND, CommandError

if TYPE_CHECKING:
    from ops.local.home import Home
    from ops.local.state import StackState

_UNHEALTHY = 1
_NOT_RUNNING = 3

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout; the rest goes to stderr.")]


def up(
    workers: Annotated[
        int, typer.Option("--workers", "-n", min=0, help="How many workers; each serves both lanes.")
    ] = 2,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once it is ready, and let it run on.")] = False,
    rehearse: Annotated[bool, typer.Option("--rehearse", help="Rehearse answers although a key is set.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start the local stack and watch over it; Ctrl-C ends it."""
    from ops.cli.stack_progress import Progress
    from ops.local.home import HomeTakenError
    from ops.local.kafka_jars import JarsMissingError
    from ops.local.supervisor import StackFailedError

    home = _home()
    progress = Progress(as_json=as_json, detached=detach)
    if home.is_taken():
        raise _taken(home)
    try:
        with progress:
            _warn_of_first_start(progress)
            _run_detached(home, workers, rehearse, progress) if detach else _run_here(home, workers, rehearse, progress)
    except HomeTakenError as error:
        raise _taken(home) from error
    except StackFailedError as error:
        raise CommandError(str(error), "headrace doctor") from error
    except JarsMissingError as error:
        raise CommandError(str(error), "headrace doctor") from error


def down() -> None:
    """End the local stack; what is in flight is finished first. Nothing to do when none runs."""
    from ops.local.detached import take_down

    ended = take_down(_home())
    print("Stopped: nothing of the stack runs on." if ended else "Nothing runs here.")


def status(as_json: AsJson = False) -> None:
    """Each part, its address and health, and the lag per topic. Exit code 1: something is unhealthy; 3: not running."""
    from ops.cli.stack_progress import table
    from ops.local.status import status_of

    found = status_of(_home())
    if found is None:
        if as_json:
            print(json.dumps({"parts": [], "lag": {}}))
        raise CommandError("The stack does not run here.", "headrace up", _NOT_RUNNING)
    if as_json:
        print(json.dumps(found.document()))
    else:
        print(table(found.parts))
        print(
            "\n".join(["", "lag (records waiting)", *(f"  {topic:<22} {lag:>10}" for topic, lag in found.lag.items())])
        )
    if found.trouble:
        raise CommandError(found.trouble, "headrace logs PART", _UNHEALTHY)


def logs(
    part: Annotated[str, typer.Argument(help="A part's name, as `headrace status` shows it.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines.")] = 50,
) -> None:
    """What a part wrote; kept after it ended."""
    from ops.local.logs import added_to, last_lines

    home = _home()
    log = home.log(part)
    if not log.is_file():
        known = ", ".join(sorted(each.stem for each in home.logs.glob("*.log"))) or "none yet"
        raise CommandError(f"There is no log of {part!r}. Parts with a log: {known}.", "headrace status", NOT_FOUND)
    for line in last_lines(log, lines):
        print(line)
    if follow:
        for text in added_to(log):
            sys.stdout.write(text)
            sys.stdout.flush()


def _home() -> "Home":
    from ops.local.home import Home
    from streams.settings import Settings

    return Home.at(Settings().home)


def _warn_of_first_start(progress: Any) -> None:
    from ops.local.kafka_jars import jar_cache, known_jars

    if not known_jars(jar_cache()):
        progress.say("first start: fetching Kafka (44 MB) and readying it takes a minute; later ones take seconds")


def _run_here(home: "Home", workers: int, rehearse: bool, progress: Any) -> None:
    from ops.local.run import run_stack
    from ops.local.stack import whole_stack
    from streams.settings import Settings

    # Settings are read once the home is ours: until then they could be those of a stack that is going down.
    no_model: dict[str, Any] = {"model_url": None, "model_key": None, "model_endpoints": ()} if rehearse else {}
    run_stack(home, lambda taken: whole_stack(taken, Settings(home=taken.root, **no_model), workers), progress)


def _run_detached(home: "Home", workers: int, rehearse: bool, progress: Any) -> None:
    from ops.local.detached import start_detached

    options = ("--workers", str(workers), *(("--rehearse",) if rehearse else ()))
    start_detached(home, (sys.executable, "-m", "ops.cli", "up", *options), progress)


def _taken(home: "Home") -> CommandError:
    from ops.local.state import read_state

    state: StackState | None = read_state(home)
    who = f" (process {state.supervisor.pid}, {state.phase})" if state else ""
    where = home.root if home.root.parent != Path.cwd() else home.root.name
    return CommandError(f"A stack runs in {where} already{who}.", "headrace status, or headrace down")
