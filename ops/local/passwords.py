"""The local stack's passwords: random, made once, kept where only their owner reads them."""

import json
import os
import secrets
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from streams.access.keys import new_key, read_key


@dataclass(frozen=True, slots=True)
class Passwords:
    """One per server; `stack` names this stack, so data kept elsewhere is not taken for another's.

    `gateway` signs request ids, `gateway_key` is the API key of this machine's user.
    """

    stack: str
    valkey: str
    postgres: str
    clickhouse: str
    gateway: str
    key_pepper: str
    gateway_key: str
    """The API key of this machine's own callers; see `ops/local/local_key.py`."""


def passwords_in(home: Path) -> Passwords:
    """What `secrets.json` says; what it lacks is made first, as in a home that an earlier version left."""
    path = home / "secrets.json"
    try:
        known: dict[str, str] = json.loads(path.read_text())
    except FileNotFoundError:
        known = {}
    if read_key(known.get("gateway_key", "")) is None:
        known.pop("gateway_key", None)
    passwords = Passwords(**(asdict(_made()) | known))
    if asdict(passwords) != known:
        write_private(path, json.dumps(asdict(passwords), indent=1))
    return passwords


def with_new_gateway_key(home: Path) -> Passwords:
    """Another local API key, kept from now on."""
    passwords = replace(passwords_in(home), gateway_key=_new_key())
    write_private(home / "secrets.json", json.dumps(asdict(passwords), indent=1))
    return passwords


def _made() -> Passwords:
    lengths = {"stack": 8, "valkey": 24, "postgres": 24, "clickhouse": 24, "gateway": 24, "key_pepper": 32}
    made = {name: secrets.token_hex(length) for name, length in lengths.items()}
    return Passwords(**made, gateway_key=_new_key())


def _new_key() -> str:
    return new_key().text.get_secret_value()


def write_private(path: Path, text: str) -> None:
    """Replace the file in one step, readable by its owner only from the first byte on."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    partial.replace(path)
