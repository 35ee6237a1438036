"""`ScriptedModel`: the port in memory, for tests: replies, failures and latency by script."""

import asyncio
import math
from collections import deque
from collections.abc import Iterable

from schemas.result import Usage
from streams.errors import ModelAmbiguous, ModelBusy, ModelError
from streams.model.port import ModelPrompt, ModelReply


class ScriptedModel:
    """Follows `script` entry by entry, then answers every prompt by echoing its last message.

    An entry is a reply's text, a whole reply, or an error to raise. `calls` holds every prompt that was sent.
    """

    def __init__(self, script: Iterable[str | ModelReply | ModelError] = (), latency_seconds: float = 0.0) -> None:
        self._script = deque(script)
        self.latency_seconds = latency_seconds
        self.calls: list[ModelPrompt] = []

    async def answer(self, prompt: ModelPrompt, deadline_seconds: float) -> ModelReply:
        """See `Model.answer`."""
        if deadline_seconds <= 0:
            raise ModelBusy("deadline_exceeded", "the deadline had passed before the call; nothing was sent")
        self.calls.append(prompt)
        entry = self._script.popleft() if self._script else f"answer to {prompt.messages[-1]['content']}"
        try:
            async with asyncio.timeout(deadline_seconds):
                await asyncio.sleep(self.latency_seconds)
        except TimeoutError:
            raise ModelAmbiguous("deadline_exceeded", f"no answer within {deadline_seconds:g} seconds") from None
        if isinstance(entry, ModelError):
            raise entry
        return entry if isinstance(entry, ModelReply) else self._reply(prompt, entry)

    async def close(self) -> None:
        """Nothing to close; here so that wiring treats every model alike."""

    def _reply(self, prompt: ModelPrompt, text: str) -> ModelReply:
        asked = len(prompt.system or "") + sum(len(str(message["content"])) for message in prompt.messages)
        tokens = math.ceil(len(text) / 3)
        cut = tokens > prompt.max_tokens
        return ModelReply(
            text=text[: prompt.max_tokens * 3] if cut else text,
            stop_reason="max_tokens" if cut else "end_turn",
            model=prompt.model,
            usage=Usage(input_tokens=max(1, asked // 4), output_tokens=min(tokens, prompt.max_tokens)),
            model_ms=int(self.latency_seconds * 1000),
        )
