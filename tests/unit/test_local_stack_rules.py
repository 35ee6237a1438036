"""The local stack's decisions, without a process."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ops.local.home import Home, HomeTakenError
from ops.local.lag import waiting
from ops.local.logs import last_lines
from ops.local.passwords import passwords_in
from ops.local.ports import may_listen
from ops.local.upkeep import restart_pause
from streams.access.keys import read_key


def test_each_crash_of_the_last_minute_doubles_the_pause() -> None:
    assert [restart_pause([0.0] * crashes, 1.0, limit=5) for crashes in (1, 2, 3)] == [0.5, 1.0, 2.0]


def test_a_part_is_given_up_at_the_limit_and_forgiven_after_a_minute() -> None:
    assert restart_pause([0.0, 1.0, 2.0], 3.0, limit=3) is None
    assert restart_pause([0.0, 1.0, 62.0], 62.5, limit=3) == 0.5


def test_lag_without_a_commit_counts_from_the_beginning() -> None:
    ends, begins = {("t", 0): 10, ("t", 1): 7}, {("t", 0): 4, ("t", 1): 0}
    assert waiting(ends, begins, {}) == 13
    assert waiting(ends, begins, {("t", 0): 9, ("t", 1): -1001}) == 8


def test_a_commit_behind_what_retention_left_counts_from_what_is_left() -> None:
    assert waiting({("t", 0): 10}, {("t", 0): 8}, {("t", 0): 3}) == 2


def test_a_home_has_one_holder(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert not home.is_taken()
    with home.taken():
        assert home.is_taken()
        with pytest.raises(HomeTakenError), home.taken():
            pass
    assert not home.is_taken()


def test_passwords_are_made_once_and_differ(tmp_path: Path) -> None:
    made = passwords_in(tmp_path)
    assert passwords_in(tmp_path) == made
    assert len({made.stack, made.valkey, made.postgres, made.clickhouse, made.gateway, made.gateway_key}) == 6
    assert (tmp_path / "secrets.json").stat().st_mode & 0o077 == 0


def test_a_home_of_an_earlier_version_keeps_its_passwords_and_gets_those_it_lacks(tmp_path: Path) -> None:
    earlier = {"stack": "a", "valkey": "b", "postgres": "c", "clickhouse": "d"}
    (tmp_path / "secrets.json").write_text(json.dumps(earlier))
    passwords = passwords_in(tmp_path)
    assert (passwords.stack, passwords.valkey, passwords.postgres, passwords.clickhouse) == ("a", "b", "c", "d")
    assert read_key(passwords.gateway_key) is not None
    assert len(passwords.key_pepper) == 64
    assert passwords_in(tmp_path) == passwords


@pytest.mark.parametrize(("count", "expected"), [(0, []), (2, ["b", "c"]), (9, ["a", "b", "c"])])
def test_the_last_lines_of_a_log(tmp_path: Path, count: int, expected: list[str]) -> None:
    log = tmp_path / "a.log"
    log.write_text("a\nb\nc\n")
    assert last_lines(log, count) == expected


def test_a_server_at_our_port_is_not_taken_for_our_own() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        assert may_listen(os.getpid(), address)
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
            assert not may_listen(stranger.pid, address)
            stranger.communicate(b"\n")
