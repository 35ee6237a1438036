"""The contract for other languages: JSON Schemas and the AsyncAPI document, generated from the models.

`python -m schemas.documents` writes them, with `--check` it says whether the committed ones are current.
"""

import json
import sys
from collections.abc import Sequence
from difflib import unified_diff
from pathlib import Path
from typing import Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode

from schemas.asyncapi import asyncapi_document
from schemas.control import CancelRequest
from schemas.dead_letter import DeadLetterHeaders
from schemas.published import PublishedSchema, Schema, as_header_text
from schemas.request import PromptRequest
from schemas.result import PromptResult

FOLDER: Final = Path(__file__).parent
WRITE_COMMAND: Final = "python -m schemas.documents"
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_DIFF_LINES: Final = 20

_MODELS: Final[tuple[tuple[str, type[BaseModel], JsonSchemaMode], ...]] = (
    ("request.v1", PromptRequest, "validation"),
    ("result.v1", PromptResult, "serialization"),
    ("cancel.v1", CancelRequest, "validation"),
    ("dead-letter.v1", DeadLetterHeaders, "serialization"),
)


def documents() -> dict[str, str]:
    """Every generated file: its path under `schemas/`, and its text."""
    found: dict[str, Schema] = {f"json/{name}.json": _json_schema(name, model, mode) for name, model, mode in _MODELS}
    found["asyncapi.json"] = asyncapi_document()
    return {path: json.dumps(document, indent=2) + "\n" for path, document in found.items()}


def drift(folder: Path = FOLDER) -> list[str]:
    """What differs between the models and the files in `folder`: the head of a diff for each stale file."""
    return [text for path, fresh in documents().items() if (text := _difference(path, folder / path, fresh))]


def write(folder: Path = FOLDER) -> list[Path]:
    """Write every document; the paths that changed."""
    changed = [folder / path for path, fresh in documents().items() if _difference(path, folder / path, fresh)]
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(documents()[path.relative_to(folder).as_posix()])
    return changed


def _json_schema(name: str, model: type[BaseModel], mode: JsonSchemaMode) -> Schema:
    subject, version = name.rsplit(".", 1)
    about: Schema = {"$schema": _DIALECT, "$id": f"urn:headrace:{subject}:{version}"}
    schema = about | model.model_json_schema(mode=mode, schema_generator=PublishedSchema)
    return as_header_text(schema) if model is DeadLetterHeaders else schema


def _difference(path: str, committed: Path, fresh: str) -> str:
    old = committed.read_text() if committed.exists() else ""
    lines = list(unified_diff(old.splitlines(), fresh.splitlines(), f"committed {path}", "models", lineterm="", n=1))
    more = [f"... {len(lines) - _DIFF_LINES} more lines"] if len(lines) > _DIFF_LINES else []
    return "\n".join([*lines[:_DIFF_LINES], *more])


def main(arguments: Sequence[str]) -> int:
    """Exit code of the command: 0 current or written, 1 stale, 2 wrong usage."""
    match list(arguments):
        case []:
            for path in write():
                print(f"wrote {path.relative_to(FOLDER.parent)}")  # noqa: T201 - a command's answer
            return 0
        case ["--check"]:
            stale = drift()
            if stale:
                print(*stale, f"the published contract is stale; run: {WRITE_COMMAND}", sep="\n", file=sys.stderr)  # noqa: T201
            return 1 if stale else 0
        case _:
            print(f"usage: {WRITE_COMMAND} [--check]", file=sys.stderr)  # noqa: T201
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
