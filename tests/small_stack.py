"""A stack that is up in a second, run as `python -m tests.small_stack HOME [crashing]`."""

import sys
from pathlib import Path

from ops.cli.stack_progress import Progress
from ops.local.home import Home
from ops.local.part import Command, Part, Stop
from ops.local.passwords import passwords_in
from ops.local.plan import Errand, Plan, Step
from ops.local.run import run_stack
from ops.local.supervisor import StackFailedError
from ops.local.valkey import valkey_server

_SLEEP = "import time; print('awake', flush=True); time.sleep(600)"
_CRASH = "import sys; sys.exit('out of luck')"


def plan_of(home: Home, program: str) -> Plan:
    valkey = valkey_server(home.data / "valkey", passwords_in(home.root).valkey)
    sleeper = Part(
        "sleeper",
        "worker",
        Command((sys.executable, "-c", program)),
        "127.0.0.1:0",
        lambda: "awake" in home.log("sleeper").read_text(),
        Stop(grace_seconds=5),
    )
    greeting = Errand("greeting", Command((sys.executable, "-c", "print('hello')")))
    steps = (Step(valkey.part), Step(greeting, ("valkey",)), Step(sleeper, ("greeting",)))
    return Plan(steps, {"redis": valkey.endpoint}, rehearsed=True)


def main() -> None:
    program = _CRASH if "crashing" in sys.argv else _SLEEP
    with Progress(as_json=False, detached=False) as progress:
        try:
            run_stack(Home.at(Path(sys.argv[1])), lambda home: plan_of(home, program), progress)
        except StackFailedError as error:
            sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
