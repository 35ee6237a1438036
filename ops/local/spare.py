"""A place for what PostgreSQL's account must reach when this stack's own folder is closed to it."""

import tempfile
from pathlib import Path


def spare_folder(stack: str) -> Path:
    """The folder of one stack there; `/var/tmp` outlives a restart of the machine, `/tmp` may not."""
    lasting = Path("/var/tmp")  # noqa: S108 - the owner of what stands there is checked
    return (lasting if lasting.is_dir() else Path(tempfile.gettempdir())) / "headrace-postgres" / stack
