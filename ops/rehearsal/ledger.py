"""The rehearsal's bill: every call, in memory and, where a path is given, in a file that survives a restart."""

import json
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import orjson


@dataclass(frozen=True, slots=True)
class Call:
    """One call as billed: tokens and cost are zero where nothing was charged. `key_hash` never reveals the key."""

    time: str
    model: str
    prompt_sha256: str
    request_id: str | None
    key_hash: str
    status: int
    fault: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_usd: Decimal | None = Decimal(0)

    def as_line(self) -> bytes:
        """One line of NDJSON; the cost is a JSON number with every digit it has."""
        document: dict[str, Any] = {name: getattr(self, name) for name in _FIELDS}
        if self.cost_usd is not None:
            document["cost_usd"] = orjson.Fragment(format(self.cost_usd, "f"))
        return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


_FIELDS = tuple(Call.__dataclass_fields__)


class CallLedger:
    """Append-only but for `clear`. One writer: the server's event loop."""

    def __init__(self, path: Path | None = None) -> None:
        self._lines: list[bytes] = []
        self._totals = _Totals()
        self._file: IO[bytes] | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b")
            self._load(self._file)

    def record(self, call: Call) -> None:
        line = call.as_line()
        self._lines.append(line)
        self._totals.add(call.status, call.fault, call.input_tokens, call.output_tokens, call.cost_usd)
        if self._file is not None:
            self._file.write(line)
            self._file.flush()

    def ndjson(self) -> bytes:
        return b"".join(self._lines)

    def summary(self) -> dict[str, Any]:
        """Counts, tokens and dollars (text: exact) of all calls since the ledger was emptied."""
        return self._totals.as_document()

    def clear(self) -> None:
        self._lines.clear()
        self._totals = _Totals()
        if self._file is not None:
            self._file.truncate(0)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _load(self, file: IO[bytes]) -> None:
        file.seek(0)
        for line in file:
            # The last line of a process that was killed may be half a line.
            if not line.endswith(b"\n"):
                file.truncate(file.tell() - len(line))
                break
            entry = json.loads(line, parse_float=Decimal)
            cost = None if entry["cost_usd"] is None else Decimal(entry["cost_usd"])
            self._lines.append(line)
            self._totals.add(entry["status"], entry["fault"], entry["input_tokens"], entry["output_tokens"], cost)


class _Totals:
    def __init__(self) -> None:
        self._statuses: Counter[int] = Counter()
        self._faults: Counter[str] = Counter()
        self._tokens = [0, 0]
        self._cost_usd = Decimal(0)
        self._charged = 0
        self._unpriced = 0

    def add(self, status: int, fault: str | None, input_tokens: int, output_tokens: int, cost: Decimal | None) -> None:
        self._statuses[status] += 1
        if fault is not None:
            self._faults[fault] += 1
        self._tokens[0] += input_tokens
        self._tokens[1] += output_tokens
        self._charged += output_tokens > 0
        self._unpriced += cost is None
        self._cost_usd += cost or 0

    def as_document(self) -> dict[str, Any]:
        return {
            "calls": self._statuses.total(),
            "ok": self._statuses[200] - sum(self._faults.values()),
            "charged": self._charged,
            "unpriced": self._unpriced,
            "input_tokens": self._tokens[0],
            "output_tokens": self._tokens[1],
            "cost_usd": orjson.Fragment(format(self._cost_usd, "f")),
            "statuses": {str(status): count for status, count in sorted(self._statuses.items())},
            "faults": dict(sorted(self._faults.items())),
        }
