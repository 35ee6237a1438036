"""What only a real server shows: bytes no client library sends, slow ones, too many. Bad-input classes 4 and 14."""

import gzip
import json
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator

import pytest

from ops.local.ports import LOOPBACK, choose_port
from streams.access.keys import new_key
from tests.access import text_of
from tests.pipeline import until

SECONDS = 30.0
"""Nothing here takes as long; a server that never answers ends the test."""


class Wire:
    """A server's port, and a key that opens it."""

    def __init__(self, port: int, key: str) -> None:
        self.port = port
        self.key = key

    def head(self, method: str = "POST", path: str = "/v1/requests", *more: str) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", "Host: gateway.test", f"Authorization: Bearer {self.key}"]
        return "\r\n".join([*lines, *more, "", ""]).encode()

    def say(self, *parts: bytes, then: Iterable[bytes] = ()) -> bytes:
        """All that the server answers until it closes the connection, or is done with one answer."""
        with socket.create_connection((LOOPBACK, self.port), timeout=SECONDS) as line:
            line.sendall(b"".join(parts))
            try:
                for part in then:
                    line.sendall(part)
            except (BrokenPipeError, ConnectionResetError):
                pass  # It has heard enough; its answer is there to be read.
            return self._heard(line)

    def _heard(self, line: socket.socket) -> bytes:
        heard = b""
        try:
            while part := line.recv(65_536):
                heard += part
                head, end, body = heard.partition(b"\r\n\r\n")
                if end and len(body) >= length_in(head):
                    break
        except ConnectionResetError:
            pass  # Closed with bytes of ours unread.
        return heard


def length_in(head: bytes) -> int:
    lengths = [line.partition(b":")[2] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return int(lengths[0]) if lengths else 10**9


def status_in(heard: bytes) -> int:
    return int(heard.split(b" ", 2)[1]) if heard else 0


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    port, key = choose_port(), text_of(new_key())
    process = subprocess.Popen([sys.executable, "-m", "tests.gateway_process", str(port), key])
    try:
        wire = Wire(port, key)
        until(lambda: answers(wire), seconds=60)
        yield wire
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def answers(wire: Wire) -> bool:
    try:
        return status_in(wire.say(wire.head("GET", "/livez"))) == 200
    except OSError:
        return False


JSON = "Content-Type: application/json"
CHUNKED = "Transfer-Encoding: chunked"


def test_a_good_request_is_answered_without_a_banner(wire: Wire) -> None:
    heard = wire.say(wire.head("POST", "/v1/requests", JSON, "Content-Length: 2"), b"{}")
    assert status_in(heard) == 202
    assert b"granian" not in heard.lower()
    assert b"hyper" not in heard.lower()
    assert b"x-content-type-options: nosniff" in heard.lower()


def test_a_head_that_never_ends_is_cut_off(wire: Wire) -> None:
    assert wire.say(b"POST /v1/requests HTTP/1.1\r\nHost: ga") == b""


def test_a_connection_that_says_nothing_is_cut_off(wire: Wire) -> None:
    assert wire.say(b"") == b""


def test_a_body_that_stops_coming_is_given_up(wire: Wire) -> None:
    heard = wire.say(wire.head("POST", "/v1/requests", JSON, "Content-Length: 20"), b'{"a": ')
    assert status_in(heard) == 408
    assert b"body_too_slow" in heard


def test_an_upload_that_stops_coming_is_given_up_too(wire: Wire) -> None:
    heard = wire.say(wire.head("POST", "/v1/bulk", "Content-Type: application/x-ndjson", CHUNKED), b"5\r\n12345\r\n")
    assert status_in(heard) == 408


def test_a_body_in_parts_without_end_is_refused_at_its_limit(wire: Wire) -> None:
    part = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
    heard = wire.say(wire.head("POST", "/v1/requests", JSON, CHUNKED), then=[part] * 400)
    assert status_in(heard) == 413


def test_a_body_announced_too_large_is_refused_before_it_is_sent(wire: Wire) -> None:
    heard = wire.say(wire.head("POST", "/v1/requests", JSON, "Content-Length: 99999999"))
    assert status_in(heard) == 413


@pytest.mark.parametrize("path", ["/v1/requests", "/v1/bulk"])
def test_a_gzip_bomb_is_refused(wire: Wire, path: str) -> None:
    bomb = gzip.compress(b" " * 60_000_000)
    kind = JSON if path == "/v1/requests" else "Content-Type: application/x-ndjson"
    heard = wire.say(wire.head("POST", path, kind, "Content-Encoding: gzip", f"Content-Length: {len(bomb)}"), bomb)
    assert status_in(heard) == 413


def test_a_body_shorter_than_announced_is_no_request(wire: Wire) -> None:
    with socket.create_connection((LOOPBACK, wire.port), timeout=SECONDS) as line:
        line.sendall(wire.head("POST", "/v1/requests", JSON, "Content-Length: 20") + b"{}")
        line.shutdown(socket.SHUT_WR)
        heard = wire._heard(line)
    assert status_in(heard) in {0, 400, 408}


def test_what_comes_after_the_announced_length_is_no_part_of_the_request(wire: Wire) -> None:
    heard = wire.say(wire.head("POST", "/v1/requests", JSON, "Content-Length: 2", "Connection: close"), b'{}{"a": 1}')
    assert status_in(heard) == 202
    assert json.loads(heard.partition(b"\r\n\r\n")[2])["body"] == {}


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 2", "Content-Length: 3"),
        ("Content-Length: -2",),
        ("Content-Length: 2x",),
        ("Host: other.test",),
        ("Idempotency-Key: a\x01b",),
        ("Idempotency-Key: a\r b",),
        ("X y: 1",),
        ("Transfer-Encoding: identity, chunked, x",),
    ],
)
def test_a_head_that_two_servers_could_read_differently_is_refused(wire: Wire, lines: tuple[str, ...]) -> None:
    assert status_in(wire.say(wire.head("POST", "/v1/requests", JSON, *lines), b"{}")) in {400, 411, 501}


def test_length_and_parts_together_smuggle_nothing(wire: Wire) -> None:
    heard = wire.say(
        wire.head("POST", "/v1/requests", JSON, "Content-Length: 4", CHUNKED, "Connection: close"),
        b"2\r\n{}\r\n0\r\n\r\nGET /livez HTTP/1.1\r\nHost: gateway.test\r\n\r\n",
    )
    assert heard.count(b"HTTP/1.1 ") == 1


def test_a_head_without_a_host_is_refused(wire: Wire) -> None:
    assert status_in(wire.say(b"GET /livez HTTP/1.1\r\n\r\n")) == 400


@pytest.mark.parametrize("head", [[f"X-{number}: 1" for number in range(150)], ["X: " + "1" * 300_000]])
def test_a_head_too_large_is_refused(wire: Wire, head: list[str]) -> None:
    heard = wire.say(wire.head("GET", "/livez", *head))
    assert status_in(heard) in {0, 431}


def test_an_answer_with_a_broken_line_in_its_head_is_not_sent(wire: Wire) -> None:
    heard = wire.say(wire.head("GET", "/v1/bug/header"))
    assert status_in(heard) == 500
    assert b"set-cookie" not in heard.lower()
    assert b"granian" not in heard.lower()


def test_after_all_that_it_still_answers(wire: Wire) -> None:
    assert answers(wire)
