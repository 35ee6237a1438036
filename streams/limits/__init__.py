"""Rate limits that all workers share, kept to the full and never passed, with tenants served fairly."""

from streams.limits.estimates import Estimates
from streams.limits.port import Grant, LimitAsk, Limiter, NoLimiter

__all__ = ["Estimates", "Grant", "LimitAsk", "Limiter", "NoLimiter"]
