"""The committed contract is what the models say, is valid in its own language, and holds for real records."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError as SchemaRefusal

from schemas import documents, examples
from schemas.codec import decode_cancel, decode_request, decode_result, encode_request, encode_result
from schemas.request import PromptRequest
from schemas.result import PromptResult
from schemas.topics import REQUESTS, TOPICS
from tests.unit.events import as_read, requests, results
from tests.unit.test_request import AT_THE_LIMIT

ASYNCAPI: dict[str, Any] = json.loads((documents.FOLDER / "asyncapi.json").read_text())


def validator(name: str) -> Draft202012Validator:
    schema = json.loads((documents.FOLDER / "json" / f"{name}.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=FormatChecker())


REQUEST_SCHEMA, RESULT_SCHEMA = validator("request.v1"), validator("result.v1")


def parsed(value: bytes | None) -> Any:
    return json.loads(value or b"")


def test_the_committed_documents_are_current() -> None:
    assert documents.drift() == []
    assert documents.main(["--check"]) == 0


def test_drift_is_shown_with_the_command_that_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(documents.drift, "__defaults__", (tmp_path,))
    documents.write(tmp_path)
    assert documents.main(["--check"]) == 0
    stale = tmp_path / "json" / "result.v1.json"
    stale.write_text(stale.read_text().replace("saved_usd", "spared_usd"))
    assert documents.main(["--check"]) == 1
    told = capsys.readouterr().err
    assert "spared_usd" in told
    assert "run: python -m schemas.documents" in told
    assert documents.write(tmp_path) == [stale]


def test_the_asyncapi_document_is_valid() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from asyncapi3 import AsyncAPI3
    AsyncAPI3.model_validate(ASYNCAPI)


def references(value: Any) -> list[str]:
    match value:
        case {"$ref": str(target)}:
            return [target]
        case dict():
            return [found for inner in value.values() for found in references(inner)]
        case list():
            return [found for inner in value for found in references(inner)]
        case _:
            return []


def test_every_reference_in_it_resolves() -> None:
    found = references(ASYNCAPI)
    assert len(found) > 20
    for target in found:
        place: Any = ASYNCAPI
        for step in target.removeprefix("#/").split("/"):
            place = place[step]


def test_its_channels_are_the_declared_topics() -> None:
    bindings = {channel["address"]: channel["bindings"]["kafka"] for channel in ASYNCAPI["channels"].values()}
    assert bindings.keys() == {topic.name for topic in TOPICS}
    for topic in TOPICS:
        assert bindings[topic.name]["topic"] == topic.name
        assert bindings[topic.name]["partitions"] == topic.partitions
        assert bindings[topic.name]["topicConfiguration"]["retention.ms"] == topic.retention_ms


def test_its_examples_are_events_we_read() -> None:
    assert decode_request(as_read(examples.request_record())) == examples.REQUEST
    assert decode_result(as_read(examples.result_record())) == examples.RESULT
    messages = ASYNCAPI["components"]["messages"]
    REQUEST_SCHEMA.validate(messages["request"]["examples"][0]["payload"])
    RESULT_SCHEMA.validate(messages["result"]["examples"][0]["payload"])
    validator("cancel.v1").validate(messages["cancel"]["examples"][0]["payload"])
    assert decode_cancel(as_read(examples.cancel_record())).request_id == examples.REQUEST.request_id
    for name in ("request", "result", "cancel"):
        Draft202012Validator(messages[name]["headers"]).validate(messages[name]["examples"][0]["headers"])
    validator("dead-letter.v1").validate(messages["deadLetter"]["examples"][0]["headers"])


@settings(max_examples=40, deadline=None)
@given(requests())
def test_every_encoded_request_keeps_to_the_schema(request: PromptRequest) -> None:
    REQUEST_SCHEMA.validate(parsed(encode_request(request, REQUESTS).value))


@settings(max_examples=40, deadline=None)
@given(results())
def test_every_encoded_result_keeps_to_the_schema(result: PromptResult) -> None:
    RESULT_SCHEMA.validate(parsed(encode_result(result).value))


REQUEST_BODY = parsed(examples.request_record().value)
RESULT_BODY = parsed(examples.result_record().value)
TURN = {"role": "user", "content": "hello"}


@pytest.mark.parametrize(
    ("schema", "body"),
    [
        (REQUEST_SCHEMA, REQUEST_BODY | {"temperature": 0.5}),
        (REQUEST_SCHEMA, REQUEST_BODY | {"cache": {"mode": "use", "invented": 1}}),
        (REQUEST_SCHEMA, REQUEST_BODY | {"labels": {"not a key": "x"}}),
        (REQUEST_SCHEMA, REQUEST_BODY | {"messages": [TURN]}),
        (REQUEST_SCHEMA, REQUEST_BODY | {"system": "Be brief."}),
        (REQUEST_SCHEMA, {name: REQUEST_BODY[name] for name in ("request_id", "tenant")}),
        (REQUEST_SCHEMA, {"request_id": REQUEST_BODY["request_id"], "tenant": "a", "messages": [TURN | {"x": 1}]}),
        (RESULT_SCHEMA, RESULT_BODY | {"invented": 1}),
        (RESULT_SCHEMA, RESULT_BODY | {"usage": {"input_tokens": 1, "invented": 1}}),
        (RESULT_SCHEMA, RESULT_BODY | {"cost_usd": 0.1}),
        (RESULT_SCHEMA, RESULT_BODY | {"cost_usd": "8E-7"}),
    ],
    ids=range(11),
)
def test_the_schemas_are_closed(schema: Draft202012Validator, body: dict[str, Any]) -> None:
    with pytest.raises(SchemaRefusal):
        schema.validate(body)


@pytest.mark.parametrize("given", AT_THE_LIMIT, ids=lambda given: str(given)[:50])
def test_what_the_model_takes_the_schema_takes(given: dict[str, Any]) -> None:
    question = {} if "template" in given else {"messages": [TURN]}
    REQUEST_SCHEMA.validate({"request_id": REQUEST_BODY["request_id"], "tenant": "a", **question, **given})
