"""`headrace doctor`: everything a machine can lack, and the fix."""

import json
from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer

from ops.cli.errors import CommandError

if TYPE_CHECKING:
    from ops.local.checks import Check


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Check this machine, and the stack if it runs. Exit code 1: something must be fixed."""
    from ops.local.checks import machine_checks
    from ops.local.home import Home
    from ops.local.model_checks import model_checks
    from ops.local.stack_checks import stack_checks
    from streams.settings import Settings

    settings = Settings()
    home = Home.at(settings.home)
    checks: list[Check] = []
    for found in chain(machine_checks(home.root, settings), model_checks(settings), stack_checks(home)):
        checks.append(found)
        if not as_json:
            _tell(found)
    if as_json:
        print(json.dumps({"checks": [_document(check) for check in checks]}))
    failed = [check.name for check in checks if not check.ok]
    if failed:
        raise CommandError(f"To be fixed: {', '.join(failed)}.", "headrace doctor, once they are")


def _tell(check: "Check") -> None:
    print(f"{'ok   ' if check.ok else 'FAIL '} {check.name:<20} {check.detail}", flush=True)
    if not check.ok:
        print(f"      {'':<20} fix: {check.fix}")


def _document(check: "Check") -> dict[str, object]:
    return {"name": check.name, "ok": check.ok, "detail": check.detail, "fix": "" if check.ok else check.fix}
