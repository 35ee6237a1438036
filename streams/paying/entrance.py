"""The way in to the model: through the gate, then through the rate limits; and what each is told afterwards."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from schemas.topics import BULK_REQUESTS
from streams.admission import Work
from streams.errors import ModelAmbiguous, ModelBusy, ModelError
from streams.limits import Estimates, Grant, LimitAsk, Limiter
from streams.model.gate import Passage
from streams.model.port import ModelPrompt, ModelReply
from streams.paying.rules import Gate
from streams.paying.stand_ins import StandIns


@dataclass(slots=True, eq=False)
class Admitted:
    """Leave to make one call of `model`. What ends before `sent` is given back."""

    model: str
    passage: Passage
    grant: Grant
    characters: int
    sent: bool = False


class Entrance:
    """Lets calls in; safe to use concurrently."""

    def __init__(self, gate: Gate, limiter: Limiter, stand_ins: StandIns) -> None:
        self._gate = gate
        self._stand_ins = stand_ins
        self._limiter = limiter
        self._estimates = Estimates()

    async def enter(self, work: Work, prompt: ModelPrompt, wanted: Callable[[], bool]) -> Admitted | None:
        """Wait until the call may be made; None once it is not `wanted`. To be given to `leave` in any case.

        Which model is to be asked can change while it waits.
        """
        characters = _characters(prompt)
        while True:
            model = self._stand_ins.choose(work)
            suits = partial(self._suits, work, model, wanted)
            passage = await self._gate.enter(model, suits)
            if passage is not None:
                # One that finds out whether a break is over is not to be put off by that very break.
                still = wanted if passage.probes else suits
                try:
                    grant = await self._limiter.acquire(self._ask(work, model, prompt, characters), still)
                except BaseException:
                    self._gate.leave(passage)
                    raise
                if grant is not None and self._gate.is_open_for(passage):
                    return Admitted(model, passage, grant, characters)
                self._gate.leave(passage)
                if grant is not None:
                    self._limiter.settle(grant, None)  # the gate was closed meanwhile
                    continue
            if not wanted():
                return None

    def answered(self, admitted: Admitted, reply: ModelReply) -> None:
        """Put the estimate right, and learn from it."""
        usage, model = reply.usage, admitted.grant.ask.model
        self._limiter.settle(admitted.grant, usage)
        self._limiter.observe(model, reply.limits)
        whole = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
        self._estimates.learn(model, admitted.characters, whole, usage.output_tokens)

    def failed(self, admitted: Admitted, error: ModelError) -> None:
        """What may have been used stays charged; what definitely was not goes back."""
        if not isinstance(error, ModelAmbiguous):
            self._limiter.settle(admitted.grant, None)
        limits: Mapping[str, str] = error.limits if isinstance(error, ModelBusy) else {}
        self._limiter.observe(admitted.grant.ask.model, limits)

    def leave(self, admitted: Admitted) -> None:
        """The call is over, or was not made."""
        self._gate.leave(admitted.passage)
        if not admitted.sent:
            self._limiter.settle(admitted.grant, None)

    def _suits(self, work: Work, model: str, wanted: Callable[[], bool]) -> bool:
        return wanted() and self._stand_ins.choose(work) == model

    def _ask(self, work: Work, model: str, prompt: ModelPrompt, characters: int) -> LimitAsk:
        return LimitAsk(
            model=model,
            tenant=work.request.tenant,
            lane="bulk" if work.record.topic == BULK_REQUESTS else "interactive",
            input_tokens=self._estimates.input_tokens(model, characters),
            output_tokens=self._estimates.output_tokens(model, prompt.max_tokens),
        )


def _characters(prompt: ModelPrompt) -> int:
    return len(prompt.system or "") + sum(len(str(turn["content"])) for turn in prompt.messages)
