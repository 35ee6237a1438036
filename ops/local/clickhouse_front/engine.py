"""The engine of this process: one connection per request or session, so settings and databases never mix."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from chdb.state.sqlitelike import Connection

from ops.local.clickhouse_front.failure import ClickHouseFailure, failure_from_engine
from ops.local.clickhouse_front.sessions import Lease, Sessions, quoted
from ops.local.clickhouse_front.statement import Statement, read_statement

# The Python package would answer these with objects instead of bytes.
_OBJECT_FORMATS = {"dataframe", "datastore", "arrowtable"}
_DESCRIBABLE = {"SELECT", "WITH", "SHOW"}


@dataclass(frozen=True, slots=True)
class Query:
    """One request, decoded. `sql` includes the rows of an insert. `read_only` refuses every write (164)."""

    sql: bytes
    database: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    default_format: str = "TabSeparated"
    session_id: str | None = None
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    body: bytes
    format: str
    summary: Mapping[str, str]


class Engine:
    """Safe to use from many threads. Only one engine can own a data path: the second one fails to start."""

    def __init__(self, path: str, database: str) -> None:
        # Held open for the life of the process: the engine stops with its last connection.
        self._root = Connection(path)
        self._sessions = Sessions(lambda: Connection(path))
        self._root.query(f"CREATE DATABASE IF NOT EXISTS `{database}`")
        about = self._root.query("SELECT version(), timezone()", "JSONCompactEachRow")
        self.version, self.timezone = json.loads(about.bytes())

    def run(self, query: Query) -> Reply:
        """Blocks until the engine is done. An insert is on disk when this returns."""
        statement = read_statement(query.sql)
        with self._sessions.lease(query.session_id if not query.read_only else None) as lease:
            try:
                self._prepare(lease, query)
                return _insert(lease, query, statement) if statement.rows is not None else _ask(lease, query, statement)
            except RuntimeError as error:
                raise failure_from_engine(str(error)) from error

    def close(self) -> None:
        self._sessions.close()
        self._root.close()

    def _prepare(self, lease: Lease, query: Query) -> None:
        lease.use(query.database or "default")
        # A GET may change settings but never data: that is ClickHouse's `readonly = 2`.
        floor = "1" if query.settings.get("readonly") == "1" else "2"
        lease.apply({**query.settings, "readonly": floor} if query.read_only else query.settings)


def _insert(lease: Lease, query: Query, statement: Statement) -> Reply:
    if query.parameters:
        assignments = ", ".join(f"param_{name} = {quoted(value)}" for name, value in query.parameters.items())
        lease.connection.query(f"SET {assignments}")
    with lease.connection.send_insert(statement.text.decode(errors="replace"), statement.format or "Values") as stream:
        if statement.rows:
            stream.append(statement.rows)
        written = stream.finish()
    summary = _summary(written.elapsed, (0, 0), (written.rows_written, written.bytes_written))
    return Reply(b"", query.default_format, summary)


def _ask(lease: Lease, query: Query, statement: Statement) -> Reply:
    format_name = statement.format or query.default_format
    if format_name.lower() in _OBJECT_FORMATS:
        raise ClickHouseFailure(73, f"Unknown format {format_name} (UNKNOWN_FORMAT)")
    # The engine takes bytes, though its hints say text: values bound on the client may be binary.
    result = lease.connection.query(statement.text, format_name, dict(query.parameters))  # type: ignore[arg-type]
    body = result.bytes()
    if not body and format_name == "Native" and statement.verb in _DESCRIBABLE:
        body = _empty_block(lease, query, statement)
    read, written = (result.rows_read(), result.bytes_read()), (result.rows_written(), result.bytes_written())
    return Reply(body, format_name, _summary(result.elapsed(), read, written))


def _empty_block(lease: Lease, query: Query, statement: Statement) -> bytes:
    """The server sends columns even without rows; the engine in process leaves them out, and clients need them."""
    describe = statement.bare + b"\n" if statement.verb == "SHOW" else b"DESCRIBE (" + statement.bare + b"\n)"
    about = lease.connection.query(describe + b" FORMAT JSON", "JSON", dict(query.parameters))  # type: ignore[arg-type]
    described = json.loads(about.bytes())
    columns = described["meta"] if statement.verb == "SHOW" else described["data"]
    names_and_types = b"".join(_sized(column["name"]) + _sized(column["type"]) for column in columns)
    return _varint(len(columns)) + _varint(0) + names_and_types


def _summary(elapsed_seconds: float, read: tuple[int, int], written: tuple[int, int]) -> dict[str, str]:
    names = ("read_rows", "read_bytes", "written_rows", "written_bytes", "elapsed_ns")
    return dict(zip(names, map(str, (*read, *written, int(elapsed_seconds * 1e9))), strict=True))


def _sized(text: str) -> bytes:
    return _varint(len(text.encode())) + text.encode()


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:  # noqa: PLR2004  # seven bits a byte
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(encoded) + bytes([number])
