import csv
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.bulk_journal import BulkJournal, FileChangedError
from producers.bulk import BulkDefaults, BulkFileError, RejectedLine, requests_in
from producers.uuid7 import uuid7
from schemas.request import PromptRequest
from schemas.topics import MAX_VALUE_BYTES

DEFAULTS = BulkDefaults(tenant="acme", run=uuid7())
ASKED = {"messages": [{"role": "user", "content": "Hello"}]}


def lines_of(content: str | bytes, name: str = "file.jsonl") -> list[PromptRequest | RejectedLine]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return list(requests_in(path, DEFAULTS))


def requests_of(content: str | bytes, name: str = "file.jsonl") -> list[PromptRequest]:
    return [line for line in lines_of(content, name) if isinstance(line, PromptRequest)]


def rejections_of(content: str | bytes, name: str = "file.jsonl") -> dict[int, str]:
    return {line.number: line.reason for line in lines_of(content, name) if isinstance(line, RejectedLine)}


def test_a_line_without_id_and_tenant_gets_both() -> None:
    (request,) = requests_of(json.dumps(ASKED))
    assert (request.tenant, request.request_id.version) == ("acme", 7)


def test_a_line_keeps_the_id_and_tenant_it_names() -> None:
    own = uuid7()
    (request,) = requests_of(json.dumps({**ASKED, "tenant": "other", "request_id": str(own)}))
    assert (request.tenant, request.request_id) == ("other", own)


def test_bad_lines_are_rejected_by_number_while_the_others_go_on() -> None:
    content = "\n".join([json.dumps(ASKED), "{", "", "[1]", json.dumps({"tenant": "acme"}), json.dumps(ASKED)])
    assert len(requests_of(content)) == 2
    rejected = rejections_of(content)
    assert list(rejected) == [2, 4, 5]
    assert "not valid JSON" in rejected[2]
    assert "messages" in rejected[5]


def test_a_reason_never_repeats_the_prompt() -> None:
    rejected = rejections_of(
        json.dumps({"messages": [{"role": "nobody", "content": "S3CRET"}], "max_tokens": "S3CRET"})
    )
    assert rejected
    assert "S3CRET" not in rejected[1]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"template": "no-such@1", "variables": {}}, "no template"),
        ({"template": "network-config@1", "variables": {"device_name": "r1"}}, "requirements"),
        ({**ASKED, "temperature": 1}, "temperature"),
        ({"messages": [{"role": "user", "content": "x" * MAX_VALUE_BYTES}]}, "limit"),
    ],
)
def test_what_the_worker_would_refuse_is_rejected_before_it_is_published(line: dict[str, object], reason: str) -> None:
    assert reason in rejections_of(json.dumps(line))[1]


def test_a_line_that_is_not_utf8_is_rejected_alone() -> None:
    good = json.dumps(ASKED).encode()
    content = good + b"\n" + good.replace(b"Hello", b"\xff\xfe") + b"\n" + good
    assert list(rejections_of(content)) == [2]
    assert len(requests_of(content)) == 2


def test_the_second_of_two_lines_with_one_id_is_rejected() -> None:
    line = json.dumps({**ASKED, "request_id": str(uuid7())})
    assert list(rejections_of(f"{line}\n{line}\n")) == [2]


@given(st.lists(st.text(min_size=1, max_size=20).filter(str.strip), max_size=8))
def test_every_line_becomes_its_request_and_ids_are_the_same_each_time(prompts: list[str]) -> None:
    content = "\n".join(json.dumps({"messages": [{"role": "user", "content": prompt}]}) for prompt in prompts)
    requests = requests_of(content)
    assert [request.messages[0].content for request in requests if request.messages] == prompts
    assert [request.request_id for request in requests] == [request.request_id for request in requests_of(content)]
    assert len({request.request_id for request in requests}) == len(prompts)


@given(st.binary(max_size=200))
def test_no_bytes_stop_the_file(noise: bytes) -> None:
    good = json.dumps(ASKED).encode()
    assert len(requests_of(good + b"\n" + noise + b"\n" + good)) >= 2


CELLS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=30).filter(
    str.strip
)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5))
def test_a_row_becomes_a_network_config_labelled_with_its_device(rows: list[tuple[str, str]]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "fleet.CSV"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerows(
                [("device_name", "requirements", "department", "user_context"), *((*row, "", "") for row in rows)]
            )
        requests = [line for line in requests_in(path, DEFAULTS) if isinstance(line, PromptRequest)]
    assert [(request.variables["device_name"], request.variables["requirements"]) for request in requests] == rows
    assert all(request.template == "network-config@1" and request.department is None for request in requests)
    assert [request.labels["device_name"] for request in requests] == [name for name, _ in rows]


def test_rejected_rows_are_numbered_as_an_editor_does() -> None:
    content = 'device_name,requirements\nr1,"two\nlines"\nr2\nr3,\nr4,vlan 10\n'
    assert list(rejections_of(content, "fleet.csv")) == [4, 5]
    assert len(requests_of(content, "fleet.csv")) == 2


@pytest.mark.parametrize(
    ("header", "told"), [("device_name", "lacks requirements"), ("device_name,requirements,x", "1 column")]
)
def test_a_header_that_does_not_fit_refuses_the_file(header: str, told: str) -> None:
    with pytest.raises(BulkFileError, match=told):
        lines_of(f"{header}\n", "fleet.csv")


def test_a_journal_is_found_again_and_refuses_a_changed_file(tmp_path: Path) -> None:
    file = tmp_path / "file.jsonl"
    file.write_text(json.dumps(ASKED))
    assert BulkJournal.found(file) is None
    journal = BulkJournal.begin(file, "acme", "bulk")
    journal.save(file)
    assert BulkJournal.found(file) == journal
    journal.check(file)
    file.write_text("{}")
    with pytest.raises(FileChangedError):
        journal.check(file)
