"""Moments as operators write them."""

import re
from datetime import UTC, datetime, timedelta

from ops.cli.errors import USAGE, CommandError

_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def moment_of(text: str, complaint: str, help_command: str) -> datetime:
    """`90s`, `15m`, `2h`, `3d` ago, or an ISO 8601 time, of this machine's zone unless it names one.

    Raises CommandError, exit code 2, with `complaint`.
    """
    if span := re.fullmatch(r"(\d{1,6})([smhd])", text):
        return datetime.now(UTC) - timedelta(seconds=int(span[1]) * _UNIT_SECONDS[span[2]])
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(complaint, help_command, USAGE) from None
    return moment if moment.tzinfo else moment.astimezone()
