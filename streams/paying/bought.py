"""What a reply becomes: the answer as it is stored, priced, with how long it stays fresh."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.result import Answer
from streams import metrics
from streams.admission import Work
from streams.cache.stored_answer import StoredAnswer
from streams.logs import logger_named
from streams.model.port import ModelReply
from streams.paying.rules import PayingRules, PayingTools
from streams.paying.stand_ins import Reason
from streams.validation import checked

log = logger_named("paying")


@dataclass(frozen=True, slots=True)
class Bought:
    """A call that was answered. `stands_in_for` says why another model than the one asked for was called."""

    reply: ModelReply
    started_at: datetime
    attempts: int
    stands_in_for: Reason | None


def stored_answer(work: Work, bought: Bought, rules: PayingRules, tools: PayingTools) -> StoredAnswer:
    """The answer to `work`, for the ledger and the caches; counts its cost."""
    reply = bought.reply
    cost_usd = tools.price(reply.model, reply.usage)
    if cost_usd is None:
        metrics.UNPRICED_CALLS.inc()
        log.warning("unpriced_call", model=reply.model)
    else:
        metrics.COST_USD.inc(float(cost_usd))
    if bought.stands_in_for is not None:
        metrics.FALLBACK_ANSWERS.labels(bought.stands_in_for).inc()
    completed_at = tools.now()
    answer = Answer(text=reply.text, stop_reason=reply.stop_reason)
    return StoredAnswer(
        answer=answer,
        model=reply.model,
        requested_model=None if bought.stands_in_for is None else work.model,
        usage=reply.usage,
        cost_usd=cost_usd,
        paid_by=work.request.request_id,
        attempts=bought.attempts,
        started_at=bought.started_at,
        completed_at=completed_at,
        model_ms=reply.model_ms,
        expires_at=completed_at + _lifetime(work, bought, rules, tools),
        validation=checked(work.request, answer),
    )


def _lifetime(work: Work, bought: Bought, rules: PayingRules, tools: PayingTools) -> timedelta:
    """A breaker closes soon, and then the model that was asked for is wanted; a refused one stays refused."""
    usual = tools.lifetime(work)
    return min(usual, rules.stand_in_lifetime) if bought.stands_in_for == "breaker" else usual
