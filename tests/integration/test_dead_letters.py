"""Dead letters on a real broker: found, shown without their value, redriven once, purged."""

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from ops.cli import run
from ops.migrations.apply import migrate_postgres
from ops.topics import apply_topics
from producers.blocking_publisher import BlockingPublisher
from schemas.codec import decode_request, encode_request
from schemas.dead_letter import DecodeError, Reason, dead_letter_of
from schemas.record import Record
from schemas.retry import attempts_of
from schemas.topics import REQUESTS, RETRY
from tests.kafka_reading import end_offsets, read_from
from tests.unit.events import a_request

SECRET = b"s3cret answer"


@pytest.fixture(scope="module")
def broker(kafka: str) -> Iterator[BlockingPublisher]:
    apply_topics(kafka, 1)
    publisher = BlockingPublisher(kafka)
    yield publisher
    publisher.close()


@pytest.fixture(scope="module")
def database(postgres_dsn: str) -> str:
    name = f"dead_letters_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    dsn = postgres_dsn.rpartition("/")[0] + f"/{name}"
    migrate_postgres(dsn, datetime.now(UTC))
    return dsn


@pytest.fixture(autouse=True)
def _environment(kafka: str, database: str, broker: BlockingPublisher, monkeypatch: pytest.MonkeyPatch) -> None:
    del broker
    monkeypatch.setenv("HEADRACE_KAFKA", kafka)
    monkeypatch.setenv("HEADRACE_POSTGRES", database)


class Desk:
    """Sets letters aside and runs the command; each test sees only what came since it began."""

    def __init__(self, kafka: str, publisher: BlockingPublisher, capsys: pytest.CaptureFixture[str]) -> None:
        self.kafka = kafka
        self._publisher = publisher
        self._capsys = capsys
        self.since = datetime.now(UTC).isoformat()

    def set_aside(self, value: bytes, reason: Reason = "not_json", topic: str = REQUESTS) -> None:
        record = Record(
            topic, 1, 7, b"k", value, (("traceparent", b"00-a-b-01"), ("x-api-key", SECRET)), 1_700_000_000_000
        )
        letter = dead_letter_of(record, DecodeError(reason, "a rule"), datetime.now(UTC))
        assert self._publisher.publish([letter]) == [True]

    def run(self, command: str, *arguments: str) -> tuple[int, str]:
        since = () if command in {"show", "purge"} else ("--since", self.since)
        code = run(["dead-letters", command, *arguments, *since])
        return code, self._capsys.readouterr().out

    def json(self, command: str, *arguments: str) -> Any:
        code, told = self.run(command, *arguments, "--json")
        assert code == 0
        return json.loads(told)


@pytest.fixture
def desk(kafka: str, broker: BlockingPublisher, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(kafka, broker, capsys)


def readable() -> bytes:
    value = encode_request(a_request(request_id=uuid.uuid4(), max_tokens=1000), REQUESTS).value
    assert value is not None
    return value


def test_filters_choose_and_the_value_is_never_told(desk: Desk) -> None:
    desk.set_aside(SECRET)
    desk.set_aside(SECRET, "oversize", RETRY)
    desk.set_aside(SECRET, "oversize")
    assert desk.json("list")["total"] == 3
    assert [each["reason"] for each in desk.json("list", "--reason", "oversize")["dead_letters"]] == ["oversize"] * 2
    assert [each["origin"] for each in desk.json("list", "--topic", RETRY)["dead_letters"]] == [f"{RETRY}/1/7"]
    limited = desk.json("list", "--limit", "1")
    assert (len(limited["dead_letters"]), limited["total"]) == (1, 3)
    assert desk.json("list", "--until", desk.since)["total"] == 0
    for told in (desk.run("list")[1], desk.run("list", "--json")[1]):
        assert SECRET.decode() not in told
    assert "3 of 3 dead letters" in desk.run("list")[1]


def test_one_is_shown_by_its_place_and_its_value_only_when_asked_for(desk: Desk) -> None:
    desk.set_aside(SECRET + b"\x1b[2J")
    place = desk.json("list")["dead_letters"][0]["place"]
    told = desk.run("show", place)[1]
    assert "x-original-topic: llm.requests" in told
    assert "value_bytes: 17" in told
    assert SECRET.decode() not in told
    with_value = desk.run("show", place, "--value")[1]
    assert SECRET.decode() in with_value
    assert "\x1b" not in with_value
    assert desk.run("show", "0:999999")[0] == 3
    assert desk.run("show", "17")[0] == 2


def test_a_dry_run_says_how_many_and_what_it_may_cost_and_sends_nothing(desk: Desk) -> None:
    desk.set_aside(readable())
    desk.set_aside(b"still broken")
    desk.set_aside(b"x", topic=RETRY)
    before = end_offsets(desk.kafka, REQUESTS)
    forecast = desk.json("redrive")["forecast"]
    assert (forecast["letters"], forecast["requests"], forecast["still_unreadable"]) == (2, 1, 1)
    assert forecast["without_way_back"] == 1
    assert 0.0005 <= float(forecast["cost_usd"]) < 0.01
    told = desk.run("redrive")[1]
    assert "upper bound" in told
    assert "dry run" in told
    assert read_from(desk.kafka, before) == []


def test_a_letter_is_redriven_once_unless_again(desk: Desk) -> None:
    values = {readable() for _ in range(5)}
    for value in values:
        desk.set_aside(value)
    before = end_offsets(desk.kafka, REQUESTS)
    assert desk.json("redrive", "--yes", "--limit", "2")["redriven"] == {"sent": 2, "refused": 0}
    assert desk.json("redrive", "--yes")["redriven"] == {"sent": 3, "refused": 0}
    third = desk.json("redrive", "--yes")
    assert (third["redriven"]["sent"], third["forecast"]["redriven_before"]) == (0, 5)
    sent = read_from(desk.kafka, before)
    assert {record.value for record in sent} == values
    assert len(sent) == 5
    place = desk.json("list", "--limit", "1")["dead_letters"][0]["place"]
    assert desk.json("redrive", place, "--yes", "--again")["redriven"]["sent"] == 1


def test_it_goes_back_as_it_came_with_its_first_time_and_where_it_was_kept(desk: Desk) -> None:
    bare = (
        b'{"request_id":"0199f3a2-7c1e-7d3a-9b53-5f1c2a6e8d04","tenant":"a","messages":[{"role":"user","content":"x"}]}'
    )
    desk.set_aside(bare)
    before = end_offsets(desk.kafka, REQUESTS)
    place = desk.json("list")["dead_letters"][0]["place"]
    desk.json("redrive", place, "--yes")
    (sent,) = read_from(desk.kafka, before)
    assert (sent.topic, sent.key, sent.value) == (REQUESTS, b"k", bare)
    headers = dict(sent.headers)
    assert headers == {
        "traceparent": b"00-a-b-01",
        "x-redriven-from": place.encode(),
        "x-first-seen": b"1700000000000",
    }
    record = Record(*sent[:1], 0, 0, sent.key, sent.value, sent.headers, 1)
    assert (attempts_of(record), decode_request(record).accepted_at.year) == (0, 2023)


def test_a_run_that_ended_halfway_leaves_its_letters_marked_as_unsure(desk: Desk, database: str) -> None:
    desk.set_aside(readable())
    desk.json("redrive", "--yes")
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE dead_letter_redrives SET confirmed_at = NULL")
    forecast = desk.json("redrive")["forecast"]
    assert (forecast["letters"], forecast["unconfirmed"]) == (0, 1)
    assert "may be there or not" in desk.run("redrive")[1]


def test_without_its_memory_nothing_is_redriven(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.set_aside(readable())
    before = end_offsets(desk.kafka, REQUESTS)
    monkeypatch.setenv("HEADRACE_POSTGRES", "postgresql://u:secret@127.0.0.1:1/d")
    assert desk.run("redrive", "--yes")[0] == 1
    assert read_from(desk.kafka, before) == []


def test_purge_deletes_up_to_a_place_and_only_when_told_so(desk: Desk) -> None:
    for _ in range(3):
        desk.set_aside(b"x")
    places = [each["place"] for each in desk.json("list")["dead_letters"]]
    assert desk.json("purge", places[1])["purged"] is False
    assert desk.json("list")["total"] == 3
    assert desk.json("purge", places[1], "--yes")["letters"] >= 2
    assert [each["place"] for each in desk.json("list")["dead_letters"]] == places[2:]
    assert desk.run("show", places[0])[0] == 3
    assert desk.run("purge", "--yes")[0] == 2


def test_purge_by_time_leaves_what_came_later(desk: Desk) -> None:
    desk.set_aside(b"older")
    until = datetime.now(UTC).isoformat()
    desk.set_aside(b"newer")
    desk.json("purge", "--until", until, "--yes")
    left = desk.json("list")
    assert left["total"] == 1
