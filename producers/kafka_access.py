"""Whether Kafka takes us, and an error of it in words that say what to do."""

import time
from collections.abc import Collection
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from producers.kafka_connection import KafkaAddress, client_options, connection_to, next_step_after

_ANSWER_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 1.0


class KafkaRefusedError(RuntimeError):
    """The broker does not take this user, password or TLS, or hides a topic; the message says what to do."""


def explained(error: KafkaError) -> str:
    """The error's own text, and the next step where it is about who we are."""
    # A listener without TLS hangs up in the middle of the handshake; the client calls that a transport failure.
    name = "_SSL" if "SSL handshake failed" in error.str() else error.name()
    next_step = next_step_after(name)
    return f"{error.str()}; {next_step}" if next_step else error.str()


class LastRefusal:
    """Give it to a client as `error_cb`: without, the client only says that time ran out."""

    def __init__(self) -> None:
        self.told: str | None = None

    def __call__(self, error: KafkaError) -> None:
        if (told := explained(error)) != error.str():
            self.told = told

    def reason_of(self, error: KafkaError) -> str:
        """Why a record was not confirmed."""
        if self.told and error.code() == KafkaError._MSG_TIMED_OUT:  # noqa: SLF001
            return f"{error.str()}; the broker's last refusal: {self.told}"
        return explained(error)


def require_access(kafka: KafkaAddress, topics: Collection[str] = (), within_seconds: float = _ANSWER_SECONDS) -> bool:
    """True once the broker takes us and shows us `topics`; False when none answers: that is waited for elsewhere.

    Raises KafkaRefusedError.
    """
    connection = connection_to(kafka)
    if connection.protocol == "PLAINTEXT":
        return True  # nothing that could be refused
    refusal = LastRefusal()
    options: dict[str, Any] = {**client_options(connection), "error_cb": refusal, "log_level": 0}
    client = Producer(options)
    try:
        is_taken = _is_taken(client, topics, refusal, time.monotonic() + within_seconds)
    finally:
        client.close()  # OpenSSL goes first when a process ends, and a client still at work then crashes it
    if not is_taken and refusal.told:
        raise KafkaRefusedError(f"Kafka at {connection.servers} refuses {connection.username or 'us'}: {refusal.told}")
    return is_taken


def _is_taken(client: Producer, topics: Collection[str], refusal: LastRefusal, deadline: float) -> bool:
    """False at the first refusal, or at the deadline (in time.monotonic's seconds)."""
    while time.monotonic() < deadline:
        try:
            hidden = [refused for topic in topics if (refused := _hidden(client, topic))]
            client.list_topics(timeout=_LOOK_SECONDS)
        except KafkaException:
            client.poll(_LOOK_SECONDS / 10)  # brings what `error_cb` is told
        else:
            if not hidden:
                return True
            refusal.told = hidden[0]
        if refusal.told:
            break
    return False


def _hidden(client: Producer, topic: str) -> str | None:
    """The refusal where the topic may not even be described; the consumers would wait for it without a word."""
    error = client.list_topics(topic, timeout=_LOOK_SECONDS).topics[topic].error
    if error is None or error.code() != KafkaError.TOPIC_AUTHORIZATION_FAILED:
        return None
    return f"{topic}: {explained(error)}"
