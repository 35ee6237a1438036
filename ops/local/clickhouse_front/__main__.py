"""`python -m ops.local.clickhouse_front --data PATH --port N`; the password comes from the environment."""

import argparse
import asyncio
import os
import signal
import sys

PASSWORD_VARIABLE = "HEADRACE_CLICKHOUSE_PASSWORD"  # noqa: S105  # a name, not a secret


def main() -> int:
    options = _options()
    password = os.environ.get(PASSWORD_VARIABLE, "")
    if not password:
        print(f"{PASSWORD_VARIABLE} is not set: export it, or start the stack with 'headrace up'.", file=sys.stderr)
        return 2
    return asyncio.run(_run(options, password))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ops.local.clickhouse_front", description=__doc__)
    parser.add_argument("--data", required=True, help="folder of the engine's data; one process at a time")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--user", default="headrace")
    parser.add_argument("--database", default="headrace", help="created when it does not exist")
    return parser.parse_args()


async def _run(options: argparse.Namespace, password: str) -> int:
    from ops.local.clickhouse_front.engine import Engine
    from ops.local.clickhouse_front.request import Credentials
    from ops.local.clickhouse_front.server import Front, serve

    stop = asyncio.Event()
    try:
        engine = Engine(options.data, options.database)
    except RuntimeError as error:
        print(f"{error}\nThe engine did not open {options.data}: is another server running there?", file=sys.stderr)
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await serve(Front(engine, Credentials(options.user, password)), options.host, options.port, stop)
    except OSError as error:
        print(f"{error}\nChoose another port with --port.", file=sys.stderr)
        return 1
    return 0


sys.exit(main())
