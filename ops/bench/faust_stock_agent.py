"""The thing compared with: a stock Faust agent that does nothing with each record, as a process of its own."""

import argparse
import time
from collections.abc import AsyncIterator
from pathlib import Path

import faust

from ops.bench.subject import write_outcome
from schemas.topics import REQUESTS


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kafka", required=True)
    parser.add_argument("--group", required=True)
    parser.add_argument("--web-port", type=int, required=True)
    parser.add_argument("--records", type=int, required=True)
    parser.add_argument("--skip-first", type=int, required=True)
    given = parser.parse_args()
    app = faust.App(
        given.group,
        broker=f"kafka://{given.kafka}",
        datadir=str(given.out.with_suffix("")),
        web_port=given.web_port,
        key_serializer="raw",
        value_serializer="raw",
    )
    topic = app.topic(REQUESTS, key_type=bytes, value_type=bytes)

    async def nothing(stream: AsyncIterator[bytes]) -> None:
        count, wall, cpu = 0, 0.0, 0.0
        async for _ in stream:
            count += 1
            if count == given.skip_first + 1:
                wall, cpu = time.perf_counter(), time.process_time()
            elif count == given.records:
                measured = count - given.skip_first - 1
                rate = measured / (time.perf_counter() - wall)
                cpu_per_1000 = (time.process_time() - cpu) / measured * 1000
                write_outcome(given.out, {"per_second": rate, "cpu_seconds_per_1000": cpu_per_1000})

    app.agent(topic)(nothing)
    faust.Worker(app, loglevel="WARNING").execute_from_commandline()


if __name__ == "__main__":
    main()
