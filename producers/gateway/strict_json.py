"""JSON without the corners that two readers read differently: what is accepted here means one thing to everybody."""

import json
import math
from typing import Any, Final, NoReturn

MAX_DEPTH: Final = 64
_MOST_INTEGER: Final = 2**63 - 1
_INTEGER_DIGITS: Final = 19
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class JsonRefusedError(ValueError):
    """Not strict JSON; the message names the rule, never what was sent."""


def strict_json(data: bytes) -> Any:
    """The value. Raises JsonRefusedError.

    Refused: bytes that are no UTF-8, a byte order mark, NaN and infinities, integers beyond 64 bits, a name twice in
    one object, lone surrogates, the character NUL, more than MAX_DEPTH levels.
    """
    if data.startswith(_BYTE_ORDER_MARK):
        raise JsonRefusedError("JSON has no byte order mark")
    try:
        value = _DECODER.decode(data.decode())
    except UnicodeDecodeError:
        raise JsonRefusedError("JSON is UTF-8") from None
    except RecursionError:
        raise JsonRefusedError(f"at most {MAX_DEPTH} levels") from None
    except json.JSONDecodeError as error:
        raise JsonRefusedError(f"not JSON: {error.msg} at character {error.pos}") from None
    # Both are rare: most bodies are not walked at all.
    if b"\\u" in data or data.count(b"[") + data.count(b"{") > MAX_DEPTH:
        _check(value)
    return value


def _check(value: Any) -> None:
    """Texts and levels; without recursion, which deep values would exhaust."""
    level, levels = [value], 0
    while level:
        below: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                below += each
                below += each.values()
            elif isinstance(each, list):
                below += each
            elif isinstance(each, str):
                _check_text(each)
        levels += any(isinstance(each, dict | list) for each in level)
        if levels > MAX_DEPTH:
            raise JsonRefusedError(f"at most {MAX_DEPTH} levels")
        level = below


def _check_text(text: str) -> None:
    if "\0" in text:
        raise JsonRefusedError("the character NUL stands for nothing in a text")
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise JsonRefusedError("a surrogate stands alone")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise JsonRefusedError("a name stands twice in one object")
    return made


def _integer(digits: str) -> int:
    if len(digits) > _INTEGER_DIGITS + 1 or abs(made := int(digits)) > _MOST_INTEGER:
        raise JsonRefusedError("an integer is beyond 64 bits")
    return made


def _number(digits: str) -> float:
    made = float(digits)
    if not math.isfinite(made):
        raise JsonRefusedError("a number is too large")
    return made


def _constant(_: str) -> NoReturn:
    raise JsonRefusedError("NaN and infinities are not JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=_constant
)
