"""How long an answer takes: drawn from a lognormal distribution, the same for the same request."""

import math
from statistics import NormalDist
from typing import Final

from ops.rehearsal.settings import LatencyDistribution

_NORMAL: Final = NormalDist()
_Z95: Final = _NORMAL.inv_cdf(0.95)
_LONGEST_OF_P95: Final = 5.0


def latency_seconds(setting: float | LatencyDistribution, seed: int) -> float:
    """Seconds for the request whose hash is `seed`; never above five times the 95th percentile."""
    if not isinstance(setting, LatencyDistribution):
        return setting
    sigma = math.log(setting.p95 / setting.median) / _Z95
    uniform = (seed % 1_000_003 + 0.5) / 1_000_003
    return min(setting.median * math.exp(sigma * _NORMAL.inv_cdf(uniform)), setting.p95 * _LONGEST_OF_P95)
