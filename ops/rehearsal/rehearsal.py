"""The state of a rehearsal and what it does with one call; knows the wire's shapes but no HTTP."""

import hashlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Final

from ops.rehearsal.answers import answer_to, input_tokens_of
from ops.rehearsal.faults import FaultScript
from ops.rehearsal.latency import latency_seconds
from ops.rehearsal.ledger import Call, CallLedger
from ops.rehearsal.limits import Demand, RateLimiter
from ops.rehearsal.prompt_cache import PromptCache
from ops.rehearsal.settings import FaultRule, RehearsalSettings
from ops.rehearsal.validation import Ask
from ops.rehearsal.wire import Answer
from schemas.result import Usage
from streams.model.prices import cost_usd

_LONGEST_WAIT_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as far as the rehearsal keeps it."""

    key_hash: str
    request_id: str | None

    @classmethod
    def of(cls, key: str, request_id: str | None) -> "Caller":
        return cls(hashlib.sha256(key.encode()).hexdigest()[:12], request_id)


@dataclass(frozen=True, slots=True)
class Scene:
    """One admitted call: what will be answered, after how long, and what it takes from the limits."""

    ask: Ask
    prompt_sha256: str
    answer: Answer
    latency_seconds: float
    demand: Demand


class Rehearsal:
    """Settings, fault script, limits and ledger of one running server."""

    def __init__(self, settings: RehearsalSettings, ledger: CallLedger) -> None:
        self.ledger = ledger
        self.in_flight = 0
        self._prompt_cache = PromptCache()
        self._numbers = count(1)
        # Ids stay unique over a restart with the same ledger file.
        self._id_prefix = f"{time.time_ns() // 1_000_000:x}"
        self.apply(settings)

    def apply(self, settings: RehearsalSettings) -> None:
        """Take new settings; buckets are full and fault counters at zero again. Raises ValueError, changing nothing."""
        script = FaultScript.of(settings.faults)
        self.settings = settings
        self._script = script
        self._limiter = RateLimiter(settings.limits, time.monotonic())

    def next_id(self) -> str:
        return f"{self._id_prefix}{next(self._numbers):08x}"

    def fault_for(self, ask: Ask, caller: Caller) -> FaultRule | None:
        return self._script.next_fault(ask.model, ask.prompt, caller.request_id or "")

    def stage(self, ask: Ask, caller: Caller) -> Scene:
        """Prepare the answer; its text is a pure function of `ask`, its usage also of which prompts are kept."""
        digest = hashlib.sha256(ask.prompt.encode()).hexdigest()
        text, stop_reason, output_tokens = answer_to(ask.prompt, ask.max_tokens)
        kept = self._prompt_cache.look(ask, caller.key_hash, time.monotonic())
        input_tokens = input_tokens_of(len(ask.prompt)) - kept.read_tokens - kept.write_tokens
        answer = Answer(
            f"msg_{self.next_id()}",
            ask.model,
            text,
            stop_reason,
            input_tokens,
            output_tokens,
            kept.read_tokens,
            kept.write_tokens,
            kept.write_1h_tokens,
        )
        seconds = latency_seconds(self.settings.latency_seconds, int(digest[:15], 16))
        # What is read from the cache does not count against the limit.
        return Scene(ask, digest, answer, seconds, Demand(input_tokens + kept.write_tokens, ask.max_tokens))

    def admit(self, scene: Scene) -> float:
        """Zero when the limits let the call in, else the seconds to wait."""
        return min(self._limiter.admit(scene.demand, time.monotonic()), _LONGEST_WAIT_SECONDS)

    def rate_headers(self) -> dict[str, str]:
        return self._limiter.headers(time.monotonic(), time.time())

    def charge(self, scene: Scene, caller: Caller, fault: FaultRule | None) -> None:
        """The answer is finished: it costs, whether or not the caller will see it."""
        self._limiter.settle(scene.demand, scene.answer.output_tokens)
        if fault is not None and not fault.is_charged:
            self._record(scene.ask.model, scene.prompt_sha256, caller, 200, fault.kind)
            return
        answer = scene.answer
        self._prompt_cache.keep(scene.ask, caller.key_hash, time.monotonic())
        usage = Usage(
            input_tokens=answer.input_tokens,
            output_tokens=answer.output_tokens,
            cache_read_tokens=answer.cache_read_tokens,
            cache_write_tokens=answer.cache_write_tokens,
            cache_write_1h_tokens=answer.cache_write_1h_tokens,
        )
        self.ledger.record(
            Call(
                time=_now(),
                model=answer.model,
                prompt_sha256=scene.prompt_sha256,
                request_id=caller.request_id,
                key_hash=caller.key_hash,
                status=200,
                fault=None if fault is None else fault.kind,
                input_tokens=answer.input_tokens,
                output_tokens=answer.output_tokens,
                cache_read_tokens=answer.cache_read_tokens,
                cache_write_tokens=answer.cache_write_tokens,
                cost_usd=cost_usd(answer.model, usage),
            )
        )

    def refuse(self, ask: Ask | None, caller: Caller, status: int) -> None:
        """A call that was not answered: listed, never charged."""
        model, prompt = ("", "") if ask is None else (ask.model, ask.prompt)
        self._record(model, hashlib.sha256(prompt.encode()).hexdigest(), caller, status, None)

    def _record(self, model: str, prompt_sha256: str, caller: Caller, status: int, fault: str | None) -> None:
        self.ledger.record(
            Call(
                time=_now(),
                model=model,
                prompt_sha256=prompt_sha256,
                request_id=caller.request_id,
                key_hash=caller.key_hash,
                status=status,
                fault=fault,
                cost_usd=Decimal(0),
            )
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
