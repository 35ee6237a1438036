"""The OpenAPI document: current, whole, and true of what the routes answer."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from jsonschema import Draft202012Validator

from producers.gateway.documents import (
    Accepted,
    Cancelling,
    DeviceJob,
    DeviceJobs,
    DeviceJobStatus,
    ProblemDocument,
    RequestPage,
    RequestStatus,
)
from producers.gateway.lookup import StoredRequest
from schemas.examples import REQUEST
from streams import gateway_documents
from tests.gateway_parts import ACME, IDS, Parts

DOCUMENT: dict[str, Any] = json.loads(gateway_documents.document())
OPERATIONS = [
    (method, path, operation) for path, methods in DOCUMENT["paths"].items() for method, operation in methods.items()
]
ASKED = {"prompt": "Which VLAN?"}
DEVICE = {"device_name": "a", "requirements": "b"}


def test_the_committed_document_is_current() -> None:
    assert gateway_documents.is_current(), f"run: {gateway_documents.WRITE_COMMAND}"


def test_it_is_openapi_3_1_and_every_reference_leads_somewhere() -> None:
    assert DOCUMENT["openapi"].startswith("3.1")
    schemas = DOCUMENT["components"]["schemas"]
    names = [part.split('"')[0] for part in json.dumps(DOCUMENT).split('"#/components/schemas/')[1:]]
    assert names
    assert set(names) <= schemas.keys()
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS)
def test_every_operation_tells_its_refusals_as_problems_and_whether_it_asks_for_a_key(
    method: str, path: str, operation: dict[str, Any]
) -> None:
    del method
    refusals = {int(status) for status in operation["responses"] if int(status) >= 400}
    for status in refusals:
        assert operation["responses"][str(status)]["content"].keys() == {"application/problem+json"}
    assert operation["operationId"]
    if path.startswith("/v1"):
        assert refusals >= {400, 401, 403, 429, 503}
        assert operation["security"]


def validator_of(name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]})


def test_the_body_is_a_request_without_what_the_gateway_gives() -> None:
    body = validator_of("RequestBody")
    given = json.loads(REQUEST.model_dump_json(exclude_none=True))
    ours = {name: given.pop(name) for name in ("request_id", "tenant", "accepted_at")}
    assert body.is_valid(given)
    assert body.is_valid(ASKED)
    assert body.is_valid({"messages": [{"role": "user", "content": "a"}], "system": "b"})
    for name, value in ours.items():
        assert not body.is_valid({**given, name: value})
    for wrong in ({}, {**ASKED, "x": 1}, {**ASKED, "messages": []}, {**ASKED, "template": "a@1"}):
        assert not body.is_valid(wrong)


async def test_what_the_routes_answer_is_what_the_document_says() -> None:
    parts, written = Parts(), IDS.new("acme")
    now = datetime.now(UTC)
    parts.lookup.put(
        StoredRequest(
            written, "acme", "noc", "ana", "app", {"device_name": "a"}, "network-config@1", "bulk", "completed", now,
            now, now, 1, 2, "model", "m", 1, 2, 3, 4, Decimal("0.0000008"), Decimal(0), 1, uuid4(), "c", None, "t", "e",
        )
    )  # fmt: skip
    async with parts.running() as client:
        accepted = await client.post("/v1/requests", json=ASKED, headers=ACME)
        Accepted.model_validate(accepted.json())
        for each in (written, accepted.json()["request_id"]):
            RequestStatus.model_validate((await client.get(f"/v1/requests/{each}", headers=ACME)).json())
        told = RequestPage.model_validate((await client.get("/v1/requests", headers=ACME)).json())
        assert str(told.requests[0].cost_usd) == "8E-7"
        waiting = accepted.json()["request_id"]
        Cancelling.model_validate((await client.delete(f"/v1/requests/{waiting}", headers=ACME)).json())
        DeviceJob.model_validate((await client.post("/api/generate-config", json=DEVICE, headers=ACME)).json())
        devices = {"requests": [DEVICE, {}]}
        DeviceJobs.model_validate((await client.post("/api/bulk-generate", json=devices, headers=ACME)).json())
        DeviceJobStatus.model_validate((await client.get(f"/api/job-status/{written}", headers=ACME)).json())
        ProblemDocument.model_validate((await client.get("/v1/requests")).json())
        assert (await client.get("/openapi.json")).json() == DOCUMENT
        assert (await client.get("/asyncapi.json")).json()["asyncapi"] == "3.0.0"
