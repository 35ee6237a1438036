"""Reading just enough of a statement to know where its rows begin and in which format it answers."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ops.local.clickhouse_front.failure import ClickHouseFailure

_TOKEN = re.compile(
    rb"""
      (?P<blank>[\s\0]++|--[^\n]*+|\#[!\ ][^\n]*+|/\*.*?\*/)
    | (?P<quoted>'(?:[^'\\]|\\.|'')*+'|"(?:[^"\\]|\\.|"")*+"|`(?:[^`\\]|\\.|``)*+`|(?P<tag>\$\w*+\$).*?(?P=tag))
    | (?P<word>[\w.]++)
    | (?P<symbol>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_BEFORE_ROWS = re.compile(rb"[ \t\f]*\r?\n?")
_AFTER_FORMAT = re.compile(rb"\s*(?:;|--|/\*|SETTINGS\b|\Z)", re.IGNORECASE)
_LOCAL_FILES = {("FROM", "INFILE"), ("INTO", "OUTFILE")}


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement. `rows` is set only for `INSERT ... FORMAT x`; `bare` is the text before a last FORMAT."""

    verb: str
    text: bytes
    bare: bytes
    format: str | None = None
    rows: memoryview | None = None


def read_statement(sql: bytes) -> Statement:
    """Raises a syntax error (62) for several statements and refuses files of the server's own disk."""
    verb, previous, bare_end, format_name, takes_rows = "", "", 0, None, True
    for word, token in _words(sql):
        verb = verb or word
        _refuse_local_files(previous, word)
        if previous == "FORMAT" and verb == "INSERT" and takes_rows:
            return _insert(sql, bare_end, token)
        if previous == "FORMAT" and _AFTER_FORMAT.match(sql, token.end()):
            format_name = token["word"].decode()
            break
        if word == ";" or (verb == "INSERT" and word == "VALUES"):
            break
        takes_rows = takes_rows and word not in {"SELECT", "WITH"}
        previous, bare_end = word, token.start()
    if not verb:
        raise ClickHouseFailure(62, "Syntax error: the query is empty (SYNTAX_ERROR)")
    text = sql if verb == "INSERT" and takes_rows else _only_statement(sql)
    return Statement(verb, text, sql[:bare_end] if format_name else text, format_name)


def _words(sql: bytes) -> Iterator[tuple[str, re.Match[bytes]]]:
    """The words outside parentheses, upper case; other tokens end a phrase and come as they are or empty."""
    depth, seen_word = 0, False
    for token in _TOKEN.finditer(sql):
        if token["symbol"]:
            depth += (token["symbol"] == b"(") - (token["symbol"] == b")")
        # The verb counts inside parentheses too: (SELECT 1) UNION ALL (SELECT 2).
        if token["word"] and (depth == 0 or not seen_word):
            seen_word = True
            yield token["word"].decode().upper(), token
        elif depth == 0 and not token["blank"]:
            yield ";" if token["symbol"] == b";" else "", token


def _refuse_local_files(previous: str, word: str) -> None:
    if (previous, word) in _LOCAL_FILES:
        raise ClickHouseFailure(48, f"{word} is not served over HTTP: use the request's body (NOT_IMPLEMENTED)")


def _insert(sql: bytes, format_at: int, format_name: re.Match[bytes]) -> Statement:
    before_rows = _BEFORE_ROWS.match(sql, format_name.end())
    rows_at = before_rows.end() if before_rows else format_name.end()
    text = sql[:format_at]
    return Statement("INSERT", text, text, format_name["word"].decode(), memoryview(sql)[rows_at:])


def _only_statement(sql: bytes) -> bytes:
    meaningful = (token for token in _TOKEN.finditer(sql) if not token["blank"])
    end = next((token.start() for token in meaningful if token["symbol"] == b";"), len(sql))
    if any(token["symbol"] != b";" for token in meaningful):
        raise ClickHouseFailure(62, "Syntax error (Multi-statements are not allowed): send one (SYNTAX_ERROR)")
    return sql[:end]
