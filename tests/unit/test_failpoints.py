"""Places where a fault test ends the process: nothing unless set, and then as `kill -9` would."""

import signal
import subprocess
import sys

import pytest

from streams.failpoints import Failpoints

_PASSES = """
from streams.failpoints import Failpoints
points = Failpoints({"after_settle": 2})
for passage in (1, 2, 3):
    points.reach("after_reply")
    points.reach("after_settle")
    print(passage, flush=True)
"""


def test_without_any_set_every_place_is_passed() -> None:
    points = Failpoints()
    for _ in range(1000):
        points.reach("before_call")


def test_a_place_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(ValueError, match=r"after_lunch.*before_claim, before_call, after_reply, after_settle"):
        Failpoints({"after_lunch": 1})


def test_the_nth_passage_kills_the_process_and_no_other_does() -> None:
    ended = subprocess.run([sys.executable, "-c", _PASSES], capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, "1\n")


_KILLS_ONE = """
from streams.failpoints import Failpoints
points = Failpoints({"before_claim": "killer=yes"})
for labels in ({}, {"killer": "no"}, {"yes": "killer"}, {"a": "b", "killer": "yes"}):
    points.reach("before_claim", labels)
    print(labels, flush=True)
"""


def test_a_label_kills_at_every_request_that_has_it_and_at_no_other() -> None:
    ended = subprocess.run([sys.executable, "-c", _KILLS_ONE], capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout.count("\n")) == (-signal.SIGKILL, 3)
