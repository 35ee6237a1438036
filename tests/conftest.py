"""Real servers, each started when the first test asks for it and shared by the whole run."""

import faulthandler
from collections.abc import Iterator

import pytest

from ops.local.testing import Endpoints
from tests.servers import server

SECONDS_TO_END = 120


def pytest_unconfigure() -> None:
    """A process that is done ends, whatever its threads wait for: stacks are told, then it is ended."""
    faulthandler.dump_traceback_later(SECONDS_TO_END, exit=True, file=2)


@pytest.fixture(autouse=True)
def _never_a_paid_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reaches a model that costs money, and none reads a stack that happens to run here."""
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "HEADRACE_MODEL_ENDPOINTS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of a broker without topics; tests make their own, under names of their own."""
    with server("kafka", tmp_path_factory.mktemp("kafka")) as address:
        yield address


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with server("redis", tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database without tables; its role may create more databases."""
    with server("postgres", tmp_path_factory.mktemp("postgres")) as dsn:
        yield dsn


@pytest.fixture(scope="session")
def clickhouse_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the HTTP interface; the default database is the user's own."""
    with server("clickhouse", tmp_path_factory.mktemp("clickhouse")) as url:
        yield url


@pytest.fixture(scope="session")
def model_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A rehearsal server: the Messages API, answers made up."""
    with server("model", tmp_path_factory.mktemp("model")) as url:
        yield url


@pytest.fixture(scope="session")
def endpoints(kafka: str, redis_url: str, postgres_dsn: str, clickhouse_url: str) -> Endpoints:
    """All four servers; a test that needs one of them asks for that one alone."""
    return Endpoints(kafka, redis_url, postgres_dsn, clickhouse_url)
