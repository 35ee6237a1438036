"""`headrace resume`: end a pause of the model's calls at once."""

import json
from typing import Annotated

import typer

from ops.cli.errors import CommandError


def resume(
    scope: Annotated[str | None, typer.Argument(help="A model's name, or `account`; all of them without one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Let calls go again after a refused key, a spend cap or a rate limit was dealt with; workers follow."""
    import asyncio

    from ops.resume import BoardAwayError, resume_calls
    from streams.settings import Settings

    try:
        ended = asyncio.run(resume_calls(Settings().redis.get_secret_value(), scope))
    except BoardAwayError as error:
        raise CommandError(str(error), "headrace status") from error
    if as_json:
        print(json.dumps({"resumed": ended}))
    elif ended:
        print("\n".join(f"resumed {each['scope']}: {each['reason']} ({each['code']})" for each in ended))
    else:
        print("Nothing is paused." if scope is None else f"{scope} is not paused.")
