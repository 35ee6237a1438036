"""JSON that means one thing to everybody; bad-input class 3."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.gateway.strict_json import MAX_DEPTH, JsonRefusedError, strict_json

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4))

REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "not JSON"),
    "no JSON": (b"prompt=hello", "not JSON"),
    "cut off": (b'{"a": [1, 2', "not JSON"),
    "two documents": (b"{} {}", "not JSON"),
    "NaN": (b'{"a": NaN}', "NaN"),
    "infinity": (b'{"a": -Infinity}', "NaN"),
    "a number that becomes infinity": (b'{"a": 1e999}', "too large"),
    "an integer beyond 64 bits": (b'{"a": 9223372036854775808}', "64 bits"),
    "an integer of a million digits": (b'{"a": ' + b"9" * 1_000_000 + b"}", "64 bits"),
    "a name twice": (b'{"tenant": "a", "tenant": "b"}', "twice"),
    "a name twice, deep inside, once escaped": (rb'[{"b": {"a": 1, "\u0061": 2}}]', "twice"),
    "a lone surrogate": (rb'{"a": "\ud800"}', "surrogate"),
    "a lone surrogate in a name": (rb'{"\udfff": 1}', "surrogate"),
    "surrogates the wrong way round": (rb'["\udc00\ud800"]', "surrogate"),
    "NUL": (rb'{"a": "x\u0000y"}', "NUL"),
    "a bare control character": (b'{"a": "x\x00y"}', "not JSON"),
    "a byte order mark": (b'\xef\xbb\xbf{"a": 1}', "byte order mark"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "UTF-8"),
    "invalid UTF-8": (b'{"a": "\xff\xfe"}', "UTF-8"),
    "UTF-8 longer than needed": (b'{"a": "\xc0\xaf"}', "UTF-8"),
    "a surrogate in UTF-8": (b'{"a": "\xed\xa0\x80"}', "UTF-8"),
    "65 levels": (b"[" * 65 + b"]" * 65, "levels"),
    "65 levels of objects": (b'{"a":' * 65 + b"1" + b"}" * 65, "levels"),
    "10,000 levels": (b"[" * 10_000 + b"]" * 10_000, "levels"),
    "a million levels that never end": (b"[" * 1_000_000, "levels"),
}


@pytest.mark.parametrize(("data", "rule"), REFUSED.values(), ids=REFUSED)
def test_what_readers_read_differently_is_refused_by_the_name_of_its_rule(data: bytes, rule: str) -> None:
    with pytest.raises(JsonRefusedError, match=rule) as told:
        strict_json(data)
    assert len(str(told.value)) < 100


@given(VALUES)
def test_everything_else_means_what_it_says(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        assert strict_json(text.encode()) == value


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (rb'["\ud83d\ude00"]', ["\U0001f600"]),
        (rb'["\\u0000"]', ["\\u0000"]),
        (rb'["\\ud800"]', ["\\ud800"]),
        (b'["[[[[' + b"[" * 100 + b'"]', ["[[[[" + "[" * 100]),
        (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, None),
        (b"[" + b"[]," * 500 + b"[]]", [[]] * 501),
    ],
    ids=["a pair", "an escaped escape", "another", "brackets in a text", "64 levels", "many lists side by side"],
)
def test_what_only_looks_wrong_is_taken(data: bytes, value: Any) -> None:
    read = strict_json(data)
    assert value is None or read == value
