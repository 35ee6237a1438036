"""The thing compared with: the model's adapter alone, as many calls in flight, no pipeline around it."""

import argparse
import asyncio
import time
from pathlib import Path

from ops.bench.pace import steady_rate
from ops.bench.questions import a_request
from ops.bench.subject import write_outcome
from streams.model.anthropic_model import AnthropicModel
from streams.model.prompting import prompt_of

_DEADLINE_SECONDS = 100.0


async def finish_times(url: str, requests: int, in_flight: int, prompt_bytes: int, first: int) -> list[float]:
    """When each call had its answer, in order."""
    model = AnthropicModel("rehearsal", url)
    numbers, times = iter(range(first, first + requests)), list[float]()

    async def call_in_turn() -> None:
        for number in numbers:
            request = a_request(number, prompt_bytes)
            await model.answer(prompt_of(request, request.model or ""), _DEADLINE_SECONDS)
            times.append(time.perf_counter())

    await asyncio.gather(*(call_in_turn() for _ in range(in_flight)))
    await model.close()
    return times


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--url", required=True)
    for name in ("--requests", "--in-flight", "--prompt-bytes", "--first"):
        parser.add_argument(name, type=int, required=True)
    given = parser.parse_args()
    cpu = time.process_time()
    times = asyncio.run(finish_times(given.url, given.requests, given.in_flight, given.prompt_bytes, given.first))
    cpu_per_1000 = (time.process_time() - cpu) / given.requests * 1000
    rate = steady_rate(times, given.in_flight, given.in_flight - 1)
    write_outcome(given.out, {"per_second": rate, "cpu_seconds_per_1000": cpu_per_1000})


if __name__ == "__main__":
    main()
