"""Requests at a constant rate, whatever becomes of them, from a process of its own.

Writes when the first was due; request `n` was due `n / rate` seconds later, sent late or not.
"""

import argparse
import time
from pathlib import Path
from typing import Final

from ops.bench.questions import a_request, flush, producer_for, records_of, send
from ops.bench.subject import write_outcome

_NAP_SECONDS: Final = 0.002


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kafka", required=True)
    parser.add_argument("--per-second", type=float, required=True)
    parser.add_argument("--records", type=int, required=True)
    parser.add_argument("--prompt-bytes", type=int, required=True)
    parser.add_argument("--questions", type=int, required=True)
    given = parser.parse_args()
    requests = (a_request(n, given.prompt_bytes, n % given.questions) for n in range(given.records))
    records = list(records_of(requests))
    producer = producer_for(given.kafka)
    producer.list_topics(timeout=10)
    started, sent = time.monotonic(), 0
    while sent < len(records):
        due = min(int((time.monotonic() - started) * given.per_second) + 1, len(records))
        for record in records[sent:due]:
            send(producer, record)
        sent = due
        producer.poll(0)
        time.sleep(_NAP_SECONDS)
    flush(producer)
    write_outcome(given.out, {"started": started})


if __name__ == "__main__":
    main()
