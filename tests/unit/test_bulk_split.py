"""Uploads are cut into the same items however their bytes arrive."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.bulk import fields_of
from producers.bulk_split import MAX_ITEM_BYTES, BulkFileError, CsvRows, JsonArray, JsonLines, RawItem, Splitter

HEADER = b"device_name,requirements\n"
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def cut(splitter: Splitter, content: bytes, pieces: list[int] | None = None) -> list[RawItem]:
    items: list[RawItem] = []
    at = 0
    for size in pieces or []:
        items += splitter.feed(content[at : at + size])
        at += size
    return [*items, *splitter.feed(content[at:]), *splitter.end()]


@given(st.lists(DOCUMENTS, max_size=6), st.lists(st.integers(1, 9), max_size=40), st.booleans())
def test_an_array_gives_its_elements_however_it_arrives(
    elements: list[object], pieces: list[int], is_indented: bool
) -> None:
    content = json.dumps(elements, indent=2 if is_indented else None, ensure_ascii=False).encode()
    items = cut(JsonArray(), content, pieces)
    assert [json.loads(item.raw) for item in items] == elements
    assert [item.line for item in items] == list(range(1, len(elements) + 1))


@given(
    st.binary(max_size=60), st.lists(st.integers(1, 9), max_size=20), st.sampled_from([JsonLines, CsvRows, JsonArray])
)
def test_any_bytes_give_the_same_items_or_the_same_refusal_however_they_arrive(
    noise: bytes, pieces: list[int], kind: type[Splitter]
) -> None:
    content = HEADER + noise if kind is CsvRows else b"[" + noise + b"]" if kind is JsonArray else noise

    def outcome(pieces: list[int]) -> object:
        try:
            return cut(kind(), content, pieces)
        except BulkFileError:
            return "refused"

    assert outcome(pieces) == outcome([])


def test_lines_are_numbered_as_an_editor_does_and_empty_ones_passed_over() -> None:
    content = b'\xef\xbb\xbf{"a":1}\r\n\n  \n{"b":2}\n[3]'
    assert [(item.line, item.raw) for item in cut(JsonLines(), content, [3, 1, 1])] == [
        (1, b'{"a":1}'),
        (4, b'{"b":2}'),
        (5, b"[3]"),
    ]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"  \n"])
def test_no_lines_give_no_items(content: bytes) -> None:
    assert cut(JsonLines(), content) == []


def test_an_empty_array_has_no_items() -> None:
    assert cut(JsonArray(), b" [ ] \n") == []


def test_an_item_that_is_too_large_is_refused_alone() -> None:
    large = json.dumps({"x": "y" * 1000, "more": ["z" * 1000] * (MAX_ITEM_BYTES // 1000)}).encode()
    pieces = [65_536] * 40
    lines = cut(JsonLines(), b"{}\n" + large + b"\n{}", pieces)
    assert [isinstance(fields_of(item), str) for item in lines] == [False, True, False]
    elements = cut(JsonArray(), b"[{}," + large + b",{}]", pieces)
    assert [isinstance(fields_of(item), str) for item in elements] == [False, True, False]


@pytest.mark.parametrize("content", [b"{}", b"[{}", b"[{}] {}", b'["', b"[{}]]", b"", b"[1,2"])
def test_what_is_no_whole_array_is_refused(content: bytes) -> None:
    with pytest.raises(BulkFileError):
        cut(JsonArray(), content)


def test_an_element_that_is_no_json_is_rejected_alone() -> None:
    items = cut(JsonArray(), b'[{"a":1}, nonsense, , {"b":},{"c":3}]', [7, 7, 7])
    assert [isinstance(fields_of(item), str) for item in items] == [False, True, True, True, False]


def test_a_row_may_span_lines_and_pieces() -> None:
    content = HEADER + b'r1,"vlan 10\nvlan 20"\nr2,vlan 30\n'
    items = cut(CsvRows(), content, [30, 10, 3])
    assert [item.line for item in items] == [2, 4]
    first = fields_of(items[0])
    assert not isinstance(first, str)
    assert first["variables"] == {"device_name": "r1", "requirements": "vlan 10\nvlan 20"}
