"""Figures from raw times; no clock, no server."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """A steady rate and what each thousand of it costs the process under test."""

    per_second: float
    cpu_seconds_per_1000: float


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen of a process when it had finished `count` records."""

    count: int
    cpu_seconds: float
    rss_mb: float


def steady_rate(times_seconds: Sequence[float], skip_first: int, skip_last: int = 0) -> float:
    """Records a second between the one after the first `skip_first` and the one before the last `skip_last`."""
    first, last = skip_first, len(times_seconds) - 1 - skip_last
    return (last - first) / max(times_seconds[last] - times_seconds[first], 1e-9)


def cpu_seconds_per_1000(samples: Sequence[Sample], skip_first: int, skip_last: int = 0) -> float:
    """CPU of the process over the same part, from the last look before it: all of it may lie between two looks."""
    until = samples[-1].count - skip_last
    first = next(sample for sample in reversed(samples) if sample.count <= skip_first or sample is samples[0])
    last = next(sample for sample in samples if sample.count >= until)
    return (last.cpu_seconds - first.cpu_seconds) / max(last.count - first.count, 1) * 1000


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]
