"""Which replies a relay loses, and that it loses nothing else."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.chaos.relay import Conversation, Relay, ReplyRule
from ops.local.ports import choose_port


def test_only_the_named_reply_is_lost() -> None:
    rule = ReplyRule(b"INSERT", lambda number: number == 2)
    one, two = Conversation(rule), Conversation(rule)
    one.asked(b"INSERT a")
    assert one.replied(b"ok")
    two.asked(b"SELECT 1")
    assert two.replied(b"ok")
    two.asked(b"INSERT b")
    assert not two.replied(b"ok")
    one.asked(b"INSERT c")
    assert one.replied(b"ok")
    assert (rule.seen, rule.lost) == (3, 1)


@given(st.lists(st.sampled_from([b"INSERT", b"INS", b"ERT", b"x"]), max_size=8), st.data())
def test_a_request_counts_the_same_however_it_is_torn_apart(words: list[bytes], data: st.DataObject) -> None:
    text = b"".join(words)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    rule = ReplyRule(b"INSERT", lambda _: False)
    conversation = Conversation(rule)
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        conversation.asked(text[start:end])
    assert rule.seen == text.count(b"INSERT")


class Echo:
    """A server that answers each piece with itself and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                while piece := connection.recv(65536):
                    self.asked.append(piece)
                    connection.sendall(piece)
            except OSError:
                return


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


def ask(port: int, *words: bytes) -> list[bytes]:
    """The answers on one connection; empty where it was cut."""
    answers = []
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        for word in words:
            try:
                connection.sendall(word)
                answers.append(connection.recv(65536))
            except ConnectionError:
                answers.append(b"")
    return answers


def test_the_request_whose_reply_is_lost_has_reached_the_server(echo: Echo) -> None:
    rule = ReplyRule(b"INSERT", lambda number: number == 1)
    with Relay(("127.0.0.1", echo.port), rule) as relay:
        assert ask(relay.port, b"SELECT", b"INSERT") == [b"SELECT", b""]
        assert ask(relay.port, b"INSERT") == [b"INSERT"]
    assert echo.asked == [b"SELECT", b"INSERT", b"INSERT"]
    assert rule.lost == 1


def test_a_relay_to_nowhere_cuts_its_client_and_goes_on() -> None:
    with Relay(("127.0.0.1", choose_port()), ReplyRule(b"-", lambda _: False)) as relay:
        assert ask(relay.port, b"hello") == [b""]
        assert ask(relay.port, b"hello") == [b""]


def test_a_relay_ends_with_connections_still_open(echo: Echo) -> None:
    with Relay(("127.0.0.1", echo.port), ReplyRule(b"-", lambda _: False)) as relay:
        connection = socket.create_connection(("127.0.0.1", relay.port), 5)
        connection.sendall(b"hello")
        assert connection.recv(10) == b"hello"
    with connection:
        connection.settimeout(5)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(10) == b""
