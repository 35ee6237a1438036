"""What a bulk run leaves beside its file, so that an interrupted one can go on without asking twice."""

import hashlib
from pathlib import Path
from typing import Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from producers.uuid7 import uuid7
from schemas.topics import Lane


class FileChangedError(ValueError):
    """The file is not the one the run began with, so its lines no longer mean the same requests."""


class BulkJournal(BaseModel):
    """One run of one file. Ids derive from `run_id` and the line, so every later attempt has the same."""

    model_config = ConfigDict(extra="forbid")

    run_id: UUID = Field(default_factory=uuid7)
    file_sha256: str
    tenant: str
    lane: Lane
    published: int = 0
    """Requests at the front of the file that the broker has confirmed."""
    finished: bool = False

    @classmethod
    def begin(cls, file: Path, tenant: str, lane: Lane) -> Self:
        return cls(file_sha256=digest_of(file), tenant=tenant, lane=lane)

    @classmethod
    def found(cls, file: Path) -> Self | None:
        """The journal of the last run of `file`, or None. Raises ValueError when it is no journal."""
        try:
            return cls.model_validate_json(journal_path(file).read_bytes())
        except FileNotFoundError:
            return None

    def check(self, file: Path) -> None:
        """Raises FileChangedError."""
        if digest_of(file) != self.file_sha256:
            raise FileChangedError(f"{file} has changed since its run began")

    def save(self, file: Path) -> None:
        """Replace what is there in one step."""
        written = journal_path(file).with_suffix(".tmp")
        written.write_text(self.model_dump_json(indent=1) + "\n")
        written.replace(journal_path(file))


def journal_path(file: Path) -> Path:
    return file.with_name(file.name + ".headrace-run.json")


def digest_of(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class UnfinishedRunError(ValueError):
    """The file's last run has requests without results: go on with it, or forget it on purpose."""
