"""A place for what PostgreSQL's account must reach when the stack's own folder is closed to it."""

import shutil
import tempfile
from pathlib import Path


def spare_folder(stack: str) -> Path:
    """The folder of one stack there; `/var/tmp` outlives a restart of the machine, `/tmp` may not."""
    return _spare_place() / stack


def mark_owner(folder: Path, data: Path) -> None:
    """Write down which data folder this one stands in for."""
    (folder / "instead-of").write_text(str(data))


def forget_earlier_stacks(data: Path, stack: str) -> None:
    """Remove what stood in for this data folder before it was deleted. Only for who holds the home it lies in."""
    for owner in _spare_place().glob("*/instead-of"):
        if owner.parent.name != stack and owner.read_text() == str(data.resolve()):
            shutil.rmtree(owner.parent, ignore_errors=True)


def _spare_place() -> Path:
    lasting = Path("/var/tmp")  # noqa: S108 - the owner of what stands there is checked
    return (lasting if lasting.is_dir() else Path(tempfile.gettempdir())) / "headrace-postgres"
