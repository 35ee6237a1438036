"""`headrace demo`: everything once, on this machine."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from ops.cli.errors import CommandError


def demo(
    workers: Annotated[int, typer.Option("--workers", "-n", min=1, help="How many workers.")] = 2,
    paid: Annotated[bool, typer.Option("--paid", help="Ask the real API with your key; without it, rehearse.")] = False,
    picture: Annotated[Path | None, typer.Option("--picture", help="Also write what is shown to this SVG.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack running afterwards.")] = False,
) -> None:
    """Start the stack, answer a fleet of 1,500 requests, compare the books, stop everything."""
    import time

    from ops.cli import stack
    from ops.demo.run import DemoFailedError, run_demo
    from streams.settings import Settings

    began = time.monotonic()
    stack.up(workers=workers, detach=True, rehearse=not paid)
    try:
        books = run_demo(Settings(), picture=picture)
    except DemoFailedError as error:
        raise CommandError(str(error), "headrace logs worker-1") from error
    finally:
        if not keep:
            stack.down()
    shown = f"{books.summary.published} of {books.summary.published} answered, every book agrees"
    print(
        f"{shown}; {time.monotonic() - began:.0f} s with start and stop. Written: .headrace/demo.json", file=sys.stderr
    )
