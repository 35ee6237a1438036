"""Getting one answer paid at most once: where ledger, gate, model and cache meet."""

from streams.paying.outcomes import TOO_LATE, Deferred, FleetOutcomeUnknown, NotAnswered, OverBudget, Paid, Withdrawn
from streams.paying.payer import Payer
from streams.paying.rules import PayingRules, PayingTools
from streams.paying.stand_ins import FallbackPolicy

__all__ = [
    "TOO_LATE",
    "Deferred",
    "FallbackPolicy",
    "FleetOutcomeUnknown",
    "NotAnswered",
    "OverBudget",
    "Paid",
    "Payer",
    "PayingRules",
    "PayingTools",
    "Withdrawn",
]
