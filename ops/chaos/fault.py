"""What a fault is: what it does to the stage while the load runs, how it is mended, what it may lead to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ops.chaos.load import Load, LoadShape
from ops.chaos.stage import PlanChange, Stage
from ops.chaos.verdict import Expectation


def _nothing(_stage: Stage) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `inject` returns when the harm is done; `heal` runs right after it, and also when it raised."""

    name: str
    story: str
    """What it does, in one sentence."""
    inject: Callable[[Stage, Load], None]
    heal: Callable[[Stage], None] = _nothing
    before: Callable[[Stage], None] = _nothing
    """What is set up on the whole stage before the load begins."""
    shape: LoadShape = field(default_factory=LoadShape)
    expects: Expectation = field(default_factory=Expectation)
    settings: Mapping[str, object] = field(default_factory=dict)
    """Settings of our processes for this fault alone, in small letters; they are restarted for it and after it."""
    own_stage: bool = False
    """Whether it leaves the stage unfit for the next fault; then it gets one of its own."""
    plan: PlanChange | None = None
    """The stack it needs, where that is another than the usual one; it gets a stage of its own too."""
