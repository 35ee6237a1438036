"""How a command fails: what failed and why, the next command to run, the exit code."""

from typing import Final

FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
PARTIAL: Final = 4
INTERRUPTED: Final = 130


class CommandError(Exception):
    """Ends a command; shown as `error: ...` and the next command, never as a traceback."""

    def __init__(self, message: str, next_command: str | None = None, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.next_command = next_command
        self.exit_code = exit_code
