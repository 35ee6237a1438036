"""API keys as an operator handles them, and the gateway's own view of them: real Postgres, real Redis."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from ops.cli import run
from ops.local.local_key import gateway_environment, local_key
from ops.local.passwords import passwords_in
from ops.migrations.apply import migrate_postgres
from producers.gateway.callers import SCOPES, Caller
from producers.gateway.quotas import QuotaAsk
from streams.access.keys import read_key
from streams.access_wiring import PepperUnsetError, build_access, intake_rules
from streams.settings import Settings

PEPPER = "a pepper of enough bytes"


@pytest.fixture
def database(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection]:
    """A database of this test alone."""
    name = f"keys_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    dsn = postgres_dsn.rpartition("/")[0] + f"/{name}"
    migrate_postgres(dsn, datetime.now(UTC))
    monkeypatch.setenv("HEADRACE_POSTGRES", dsn)
    monkeypatch.setenv("HEADRACE_KEY_PEPPER", PEPPER)
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    """What a command says with --json."""
    assert run(["keys", *arguments, "--json"]) == code
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


async def caller_of(text: str, redis_url: str = "redis://127.0.0.1:1/0") -> Caller | None:
    """Whom a gateway that has just started lets in with this key."""
    async with AsyncExitStack() as owned:
        keys, _ = build_access(Settings(redis=SecretStr(redis_url)), owned)
        return await keys.caller_of(text)


def test_a_key_is_made_and_lets_in_and_only_its_digest_is_kept(
    database: psycopg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--tenant", "meridian", "--scope", "read", "--model", "claude-haiku-5-5", "--per-second", "2.5")
    made = told(capsys, "create", *options, "--per-day", "100", "--name", "nightly", "--expires-days", "30")
    caller = asyncio.run(caller_of(made["key"]))
    assert caller is not None
    assert (caller.key_id, caller.tenant, set(caller.scopes)) == (made["key_id"], "meridian", {"read"})
    assert caller.allowed_models == frozenset({"claude-haiku-5-5"})
    assert caller.quotas.requests_per_second == 2.5
    assert caller.expires_at is not None
    assert timedelta(days=29) < caller.expires_at - datetime.now(UTC) <= timedelta(days=30)
    key = read_key(made["key"])
    assert key is not None
    rows = database.execute("SELECT row_to_json(k)::text FROM api_keys k").fetchall()
    assert len(rows) == 1
    assert key.secret.get_secret_value() not in rows[0][0]


def test_a_key_is_shown_once(database: psycopg.Connection, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "create", "--tenant", "meridian", "--name", "nightly"]) == 0
    shown = capsys.readouterr().out
    text = shown.splitlines()[0]
    assert read_key(text) is not None
    assert "not shown again" in shown
    assert run(["keys", "list"]) == 0
    listed = capsys.readouterr().out
    assert text[:15].removeprefix("hr_") in listed
    assert text not in listed
    (of_json,) = told(capsys, "list")["keys"]
    assert (of_json["state"], of_json["name"], of_json["scopes"]) == ("active", "nightly", ["read", "submit"])
    assert not {"key", "digest", "secret"} & of_json.keys()
    assert database.execute("SELECT count(*) FROM api_keys").fetchone() == (1,)


@pytest.mark.usefixtures("database")
def test_keys_are_listed_by_tenant_and_ended_ones_only_on_demand(capsys: pytest.CaptureFixture[str]) -> None:
    ours = told(capsys, "create", "--tenant", "meridian")["key_id"]
    ended = told(capsys, "create", "--tenant", "meridian")["key_id"]
    told(capsys, "create", "--tenant", "another")
    told(capsys, "revoke", ended)
    assert [key["key_id"] for key in told(capsys, "list", "--tenant", "meridian")["keys"]] == [ours]
    everything = told(capsys, "list", "--tenant", "meridian", "--all")["keys"]
    assert [(key["key_id"], key["state"]) for key in everything] == [(ended, "revoked"), (ours, "active")]


@pytest.mark.usefixtures("database")
def test_a_revoked_key_lets_nobody_in(capsys: pytest.CaptureFixture[str]) -> None:
    made = told(capsys, "create", "--tenant", "meridian")
    told(capsys, "revoke", made["key_id"])
    told(capsys, "revoke", made["key_id"])
    assert asyncio.run(caller_of(made["key"])) is None


@pytest.mark.usefixtures("database")
def test_a_running_gateway_knows_of_a_revocation_in_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_KEY_FRESH_SECONDS", "0.2")
    made = told(capsys, "create", "--tenant", "meridian")

    async def watch() -> None:
        async with AsyncExitStack() as owned:
            keys, _ = build_access(Settings(), owned)
            assert await keys.caller_of(made["key"]) is not None
            assert await asyncio.to_thread(run, ["keys", "revoke", made["key_id"]]) == 0
            async with asyncio.timeout(20):
                while await keys.caller_of(made["key"]) is not None:  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(0.05)

    asyncio.run(watch())


@pytest.mark.usefixtures("database")
def test_a_rotated_key_is_good_for_the_same_and_the_old_one_for_the_overlap(capsys: pytest.CaptureFixture[str]) -> None:
    old = told(capsys, "create", "--tenant", "meridian", "--scope", "submit", "--per-day", "7")
    new = told(capsys, "rotate", old["key_id"], "--overlap-hours", "2")
    assert new["replaces"] == old["key_id"]
    callers = [asyncio.run(caller_of(each["key"])) for each in (old, new)]
    for caller in callers:
        assert caller is not None
        assert (caller.tenant, set(caller.scopes), caller.quotas.requests_per_day) == ("meridian", {"submit"}, 7)
    states = {key["key_id"]: key["state"] for key in told(capsys, "list")["keys"]}
    assert states == {old["key_id"]: "replaced", new["key_id"]: "active"}
    at_once = told(capsys, "rotate", new["key_id"], "--overlap-hours", "0")
    assert asyncio.run(caller_of(new["key"])) is None
    assert asyncio.run(caller_of(at_once["key"])) is not None


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["create", "--tenant", "a b"], 2, "letters, digits"),
        (["create", "--tenant", "mеridian"], 2, "letters, digits"),  # noqa: RUF001 - a Cyrillic letter in it
        (["create", "--tenant", "a", "--scope", "root"], 2, "no scope root"),
        (["create", "--tenant", "a", "--per-second", "0"], 2, "requests_per_second"),
        (["rotate", "aaaaaaaaaaaa"], 3, "no active key"),
        (["revoke", "aaaaaaaaaaaa"], 3, "no key aaaaaaaaaaaa"),
        (["revoke", "'; DROP TABLE api_keys; --"], 3, "no key"),
    ],
)
@pytest.mark.usefixtures("database")
def test_what_cannot_be_done_is_said(
    arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["keys", *arguments]) == code
    assert words in capsys.readouterr().err


@pytest.mark.usefixtures("database")
def test_some_of_many_revoked_is_a_partial_failure(capsys: pytest.CaptureFixture[str]) -> None:
    known = told(capsys, "create", "--tenant", "meridian")["key_id"]
    assert told(capsys, "revoke", known, "aaaaaaaaaaaa", code=4) == {"revoked": [known], "unknown": ["aaaaaaaaaaaa"]}


@pytest.mark.usefixtures("database")
def test_without_a_pepper_no_key_is_made_and_no_gateway_starts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HEADRACE_KEY_PEPPER")
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path))
    assert run(["keys", "create", "--tenant", "meridian"]) == 1
    assert "HEADRACE_KEY_PEPPER" in capsys.readouterr().err
    with pytest.raises(PepperUnsetError, match="HEADRACE_KEY_PEPPER"):
        build_access(Settings(), AsyncExitStack())
    monkeypatch.setenv("HEADRACE_KEY_PEPPER", "short")
    with pytest.raises(ValueError, match="16 bytes"):
        build_access(Settings(), AsyncExitStack())


def test_a_store_that_is_away_or_not_migrated_is_told_with_the_next_command(
    postgres_dsn: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_KEY_PEPPER", PEPPER)
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        name = f"empty_{uuid.uuid4().hex}"
        connection.execute(f"CREATE DATABASE {name}".encode())
    for dsn, words in (
        ("postgresql://u:secret@127.0.0.1:1/d", "headrace status"),
        (postgres_dsn.rpartition("/")[0] + f"/{name}", "headrace migrate"),
    ):
        monkeypatch.setenv("HEADRACE_POSTGRES", dsn)
        assert run(["keys", "list"]) == 1
        err = capsys.readouterr().err
        assert words in err
        assert "secret" not in err


@pytest.mark.usefixtures("database")
def test_the_local_key_is_there_each_time_and_opens_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_KEY_PEPPER", gateway_environment(tmp_path)["HEADRACE_KEY_PEPPER"])
    settings = Settings(home=tmp_path)
    first = asyncio.run(local_key(settings, tmp_path))
    assert asyncio.run(local_key(settings, tmp_path)) == first == passwords_in(tmp_path).gateway_key
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600
    caller = asyncio.run(caller_of(first))
    assert caller is not None
    assert (caller.tenant, caller.scopes) == ("local", SCOPES)


@pytest.mark.usefixtures("database")
def test_a_local_key_that_was_revoked_is_followed_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADRACE_KEY_PEPPER", passwords_in(tmp_path).key_pepper)
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path))
    first = told(capsys, "local")["key"]
    told(capsys, "revoke", first.split("_")[1])
    second = told(capsys, "local")["key"]
    assert second != first
    assert asyncio.run(caller_of(first)) is None
    assert asyncio.run(caller_of(second)) is not None
    assert told(capsys, "local")["key"] == second


def test_there_is_no_local_key_in_production(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_ENVIRONMENT", "production")
    assert run(["keys", "local"]) == 2
    assert "local stack alone" in capsys.readouterr().err


@pytest.mark.usefixtures("database")
def test_a_gateways_quotas_are_the_settings(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_QUOTA_KEY", '{"requests_per_second": 0.01, "burst": 3}')
    monkeypatch.setenv("HEADRACE_GATEWAY_TRUSTED_PROXIES", '["10.0.0.0/8", "fd00::/8"]')
    monkeypatch.setenv("HEADRACE_GATEWAY_HOSTS", '["Gateway.Test"]')

    async def spend() -> list[bool]:
        async with AsyncExitStack() as owned:
            _, quotas = build_access(Settings(redis=SecretStr(redis_url)), owned)
            caller = Caller(read_key_id(), "meridian", SCOPES)
            return [(await quotas.spend(QuotaAsk(caller, 1, 1, None, "192.0.2.1"))).allowed for _ in range(4)]

    assert asyncio.run(spend()) == [True, True, True, False]
    rules = intake_rules(Settings())
    assert rules.hosts == {"gateway.test"}
    assert [str(network) for network in rules.trusted_proxies] == ["10.0.0.0/8", "fd00::/8"]


def read_key_id() -> Any:
    return uuid.uuid4().hex[:12]
