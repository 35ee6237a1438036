"""The local stack's passwords: random, made once, kept where only their owner reads them."""

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Passwords:
    """One per server; `stack` names this stack, so data kept elsewhere is not taken for another's."""

    stack: str
    valkey: str
    postgres: str
    clickhouse: str


def passwords_in(home: Path) -> Passwords:
    """What `secrets.json` says, made first if there is none."""
    path = home / "secrets.json"
    try:
        return Passwords(**json.loads(path.read_text()))
    except FileNotFoundError:
        made = Passwords(*(secrets.token_hex(length) for length in (8, 24, 24, 24)))
        write_private(path, json.dumps(asdict(made), indent=1))
        return made


def write_private(path: Path, text: str) -> None:
    """Replace the file in one step, readable by its owner only from the first byte on."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    partial.replace(path)
