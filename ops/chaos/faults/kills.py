"""Processes that die, freeze, come and go."""

from collections.abc import Callable
from typing import Final

from ops.chaos.books import ends_of
from ops.chaos.fault import Fault
from ops.chaos.load import Load, LoadShape
from ops.chaos.stage import Stage, StageError
from ops.chaos.verdict import Expectation
from schemas.codec import encode_request
from schemas.topics import DEAD_LETTERS, REQUESTS
from streams.failpoints import Place

_VICTIM: Final = "worker-1"
_DEATH_SECONDS: Final = 30.0
_LOOP_SECONDS: Final = 150.0
_KILLER: Final = 1_000_000
_KILLER_DEATHS: Final = 4
"""One in flight with others, and three alone, at the least."""
_SOON: Final = Expectation(recovery_seconds=20)
_LONG: Final = LoadShape(requests=600, seconds=20)


def half_way(stage: Stage, load: Load, share: float = 0.4) -> None:
    """Wait until that much of the load is under way."""
    stage.until(lambda: load.reached(share), 120, f"{share:.0%} of the load")


def _kill_worker(stage: Stage, load: Load) -> None:
    half_way(stage, load)
    stage.kill(_VICTIM)


def _freeze_worker(stage: Stage, load: Load) -> None:
    half_way(stage, load)
    stage.pause(_VICTIM)
    stage.wait(9)  # past the ledger's lease and past the group's session


def _resume_worker(stage: Stage) -> None:
    stage.resume(_VICTIM)


def _dies_at(place: Place, passage: int) -> tuple[Callable[[Stage], None], Callable[[Stage, Load], None]]:
    """Before: the victim with a failpoint. Inject: wait until it has died there."""

    def before(stage: Stage) -> None:
        stage.restart(_VICTIM, failpoints=f'{{"{place}": {passage}}}')

    def inject(stage: Stage, _load: Load) -> None:
        stage.until(lambda: bool(stage.deaths), _DEATH_SECONDS, f"{_VICTIM} to die at {place}")

    return before, inject


def _failpoint(name: str, place: Place, story: str) -> Fault:
    before, inject = _dies_at(place, 40)
    return Fault(name, story, inject, before=before, expects=_SOON)


def _crash_loop(stage: Stage, _load: Load) -> None:
    for deaths in (1, 2, 3):
        stage.until(lambda deaths=deaths: len(stage.deaths) >= deaths, _DEATH_SECONDS, f"death {deaths}")  # type: ignore[misc]
        if deaths < 3:  # noqa: PLR2004 - the last start is a whole one
            stage.start(_VICTIM, ready=False, failpoints='{"before_call": 1}')


def _put_killer(stage: Stage, load: Load) -> None:
    """A request at which every worker is killed, until it is set aside."""
    half_way(stage, load, 0.3)
    before = sum(ends_of(load.kafka, DEAD_LETTERS).values())
    # Of a tenant of its own: it is accepted and never answered, so its row in Postgres stays pending.
    killer = load.question(_KILLER, f"{load.tenant}-killer").model_copy(update={"labels": {"killer": "yes"}})
    record = encode_request(killer, REQUESTS)
    load.put(REQUESTS, record.value, record.key, record.headers)
    stage.until(lambda: sum(ends_of(load.kafka, DEAD_LETTERS).values()) > before, _LOOP_SECONDS, "its dead letter")
    if len(stage.deaths) < _KILLER_DEATHS:
        raise StageError(f"set aside after {len(stage.deaths)} deaths already")


def _storm(stage: Stage, load: Load) -> None:
    half_way(stage, load, 0.1)
    for number in range(7):
        name = f"guest-{number // 2}"
        if number % 2 == 0:
            stage.add_worker(name)
        else:
            stage.actor(name).ask_to_end()
        stage.wait(3)


def _guests_leave(stage: Stage) -> None:
    for name in [name for name in stage.workers if name.startswith("guest")]:
        stage.stop(name)


def _terminate_all(stage: Stage, load: Load) -> None:
    half_way(stage, load)
    ours = stage.ours
    for name in ours:
        stage.actor(name).ask_to_end()
    for name in ours:
        stage.stop(name)
    for name in ours:
        stage.start(name, ready=False)


def _kill_sinks(stage: Stage, load: Load) -> None:
    for share, name in ((0.3, "sink-clickhouse"), (0.5, "sink-postgres"), (0.7, "sink-clickhouse")):
        half_way(stage, load, share)
        stage.kill(name)


def _kill_retries(stage: Stage, load: Load) -> None:
    stage.model(faults=[{"status": 503, "share": 0.25, "count": 60}])
    for share in (0.3, 0.6):
        half_way(stage, load, share)
        stage.kill("retries")


def _model_is_well(stage: Stage) -> None:
    stage.model(faults=[])


FAULTS: Final = (
    Fault("worker-killed", "kill -9 of a worker while calls are in flight", _kill_worker, expects=_SOON),
    _failpoint("killed-before-call", "before_call", "a worker dies after it marked a call as sent, before it sent it"),
    _failpoint("killed-after-reply", "after_reply", "a worker dies between the model's reply and its settlement"),
    _failpoint("killed-after-settle", "after_settle", "a worker dies between settlement and the result's publication"),
    _failpoint("killed-after-publish", "after_publish", "a worker dies between publication and the offset's release"),
    Fault(
        "crash-loop",
        "a worker dies at its first call, three starts in a row",
        _crash_loop,
        before=_dies_at("before_call", 1)[0],
        # Work must still come when the third start is up, however slow the machine.
        shape=LoadShape(requests=600, seconds=40),
        # A request whose calls were ambiguous twice is not asked a third time.
        expects=Expectation(statuses=frozenset({"completed", "failed"})),
    ),
    Fault(
        "killer-record",
        "a record kills every worker that takes it, without a word",
        _put_killer,
        settings={"failpoints": '{"before_claim": "killer=yes"}'},
        shape=_LONG,
        # Work around it may have been cut off twice, as in a crash loop.
        expects=Expectation(statuses=frozenset({"completed", "failed"})),
    ),
    Fault("worker-frozen", "SIGSTOP of a worker past its lease, then SIGCONT", _freeze_worker, _resume_worker),
    Fault("rebalance-storm", "a worker joins or leaves every 3 s", _storm, _guests_leave, shape=_LONG),
    Fault("all-terminated", "SIGTERM of workers, retries and sinks at once, then restart", _terminate_all),
    Fault("sinks-killed", "kill -9 of either sink, three times", _kill_sinks),
    Fault("retries-killed", "kill -9 of the retries process while records wait", _kill_retries, _model_is_well),
)
