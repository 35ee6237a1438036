"""The local stack's life: up, one of its own only, through crashes, and down with nothing left."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import redis

from ops.local.detached import take_down
from ops.local.home import Home
from ops.local.state import PartState, ProcessId, StackState, identify, read_state, write_state

REPOSITORY = Path(__file__).parents[2]


def until(happened: Callable[[], bool], within_seconds: float = 20) -> None:
    deadline = time.monotonic() + within_seconds
    while not happened():
        assert time.monotonic() < deadline, "It did not happen in time."
        time.sleep(0.02)


def headrace(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ops.cli", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "HEADRACE_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def small_stack(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    supervisor = start_small_stack(home)
    try:
        until(lambda: is_ready(home, supervisor) or supervisor.poll() is not None)
        yield supervisor
    finally:
        supervisor.terminate()
        supervisor.wait(30)


def start_small_stack(home: Path, *more: str) -> subprocess.Popen[bytes]:
    home.mkdir(exist_ok=True)
    with (home / "supervisor.out").open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.small_stack", str(home), *more],
            cwd=REPOSITORY,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def is_ready(home: Path, supervisor: subprocess.Popen[bytes]) -> bool:
    state = read_state(Home(home))
    return state is not None and state.supervisor.pid == supervisor.pid and state.phase == "ready"


def state_of(home: Path) -> StackState:
    state = read_state(Home(home))
    assert state is not None
    return state


def processes_of(state: StackState) -> list[ProcessId]:
    return [part.process for part in state.parts if part.process]


def part_of(home: Path, name: str) -> PartState:
    return next(part for part in state_of(home).parts if part.name == name)


def a_part_that_runs_as(process: ProcessId) -> PartState:
    return PartState("old", "worker", process, "127.0.0.1:0", healthy=True, restarts=0, stop_signal=15, log="old.log")


def test_a_ready_stack_tells_its_endpoints_to_its_owner_only(tmp_path: Path) -> None:
    with small_stack(tmp_path):
        endpoints = tmp_path / "endpoints.json"
        assert stat.S_IMODE(endpoints.stat().st_mode) == 0o600
        assert redis.Redis.from_url(json.loads(endpoints.read_text())["redis"]).ping()


def test_status_names_every_part_in_the_promised_shape(tmp_path: Path) -> None:
    with small_stack(tmp_path):
        told = headrace(tmp_path, "status", "--json")
        assert told.returncode == 0
        status = json.loads(told.stdout)
        assert status["lag"] == {}
        assert [part["name"] for part in status["parts"]] == ["valkey", "sleeper"]
        assert all(set(part) == {"name", "kind", "pid", "address", "healthy"} for part in status["parts"])
        assert all(part["healthy"] for part in status["parts"])


def test_down_leaves_nothing_behind(tmp_path: Path) -> None:
    with small_stack(tmp_path) as supervisor:
        running = processes_of(state_of(tmp_path))
        assert len(running) == 2
        assert headrace(tmp_path, "down").returncode == 0
        assert supervisor.wait(5) == 0
    assert not any(process.find() for process in running)
    assert not (tmp_path / "endpoints.json").exists()
    assert headrace(tmp_path, "status").returncode == 3
    assert headrace(tmp_path, "down").returncode == 0


def test_ctrl_c_ends_every_part(tmp_path: Path) -> None:
    with small_stack(tmp_path) as supervisor:
        running = processes_of(state_of(tmp_path))
        supervisor.send_signal(signal.SIGINT)
        assert supervisor.wait(15) == 0
    assert not any(process.find() for process in running)


def test_a_second_up_is_refused_and_says_what_to_do(tmp_path: Path) -> None:
    with small_stack(tmp_path) as supervisor:
        refused = headrace(tmp_path, "up")
        assert refused.returncode == 1
        assert str(supervisor.pid) in refused.stderr
        assert "headrace down" in refused.stderr
        assert state_of(tmp_path).phase == "ready"


def test_a_killed_part_comes_back(tmp_path: Path) -> None:
    with small_stack(tmp_path):
        killed = part_of(tmp_path, "sleeper").process
        assert killed is not None
        os.kill(killed.pid, signal.SIGKILL)
        until(lambda: part_of(tmp_path, "sleeper").restarts == 1 and part_of(tmp_path, "sleeper").healthy)
        assert part_of(tmp_path, "sleeper").process != killed


def test_a_part_that_keeps_ending_fails_the_start_and_ends_the_rest(tmp_path: Path) -> None:
    supervisor = start_small_stack(tmp_path, "crashing")
    assert supervisor.wait(30) == 1
    assert "out of luck" in (tmp_path / "supervisor.out").read_text()
    state = state_of(tmp_path)
    assert state.phase == "failed"
    assert "sleeper keeps ending" in (state.error or "")
    assert not [each for each in psutil.process_iter() if str(tmp_path) in " ".join(_command_line(each))]


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_a_taken_port_is_left_to_its_owner(tmp_path: Path) -> None:
    with socket.socket() as owner:
        owner.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            owner.bind(("127.0.0.1", 6379))
            owner.listen()
        except OSError:
            pass  # Somebody else owns it already: just as well.
        with small_stack(tmp_path):
            address = part_of(tmp_path, "valkey").address
            assert not address.endswith(":6379")


def test_the_pid_of_a_stranger_in_an_old_state_is_left_alone(tmp_path: Path) -> None:
    home = Home(tmp_path)
    ourselves = identify(os.getpid())
    assert ourselves is not None
    stranger = ProcessId(os.getpid(), ourselves.created - 3600)
    write_state(home, StackState(stranger, "ready", rehearsed=True, parts=(a_part_that_runs_as(stranger),)))
    assert headrace(tmp_path, "status").returncode == 3
    with small_stack(tmp_path):
        assert [part.name for part in state_of(tmp_path).parts] == ["valkey", "sleeper"]


def test_down_ends_what_a_killed_supervisor_left(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as left:
        process = identify(left.pid)
        assert process is not None
        gone = ProcessId(left.pid, process.created - 3600)
        write_state(home, StackState(gone, "ready", rehearsed=True, parts=(a_part_that_runs_as(process),)))
        assert take_down(home)
        assert left.wait(5) == -signal.SIGTERM
    assert not take_down(home)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child to its parent's life")
def test_no_part_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    with small_stack(tmp_path) as supervisor:
        running = processes_of(state_of(tmp_path))
        supervisor.kill()
        until(lambda: not any(process.find() for process in running))
        assert headrace(tmp_path, "status").returncode == 3


def test_logs_shows_what_a_part_wrote_and_knows_the_names(tmp_path: Path) -> None:
    with small_stack(tmp_path):
        assert headrace(tmp_path, "logs", "sleeper").stdout == "awake\n"
        unknown = headrace(tmp_path, "logs", "slepper")
        assert unknown.returncode == 3
        assert "sleeper" in unknown.stderr
