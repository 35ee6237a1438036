"""Asking a broker where to begin: silence is asked again until nobody wants the answer, a refusal is told at once."""

from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from streams.subscribe_start import partitions_of, start_positions

SILENT, REFUSED = KafkaError._TRANSPORT, KafkaError.TOPIC_AUTHORIZATION_FAILED


class Asked:
    """A consumer whose broker answers everything with one error, or each partition with it; counts the questions."""

    def __init__(self, code: int, *, is_of_partitions: bool = False) -> None:
        self.questions = 0
        self._code = code
        self._is_of_partitions = is_of_partitions

    def list_topics(self, topic: str, timeout: float) -> Any:
        del topic, timeout
        self.questions += 1
        raise KafkaException(KafkaError(self._code))

    def offsets_for_times(self, asked: list[TopicPartition], timeout: float) -> Any:
        del timeout
        self.questions += 1
        if not self._is_of_partitions:
            raise KafkaException(KafkaError(self._code))
        # A TopicPartition with an error cannot be made by hand.
        return [SimpleNamespace(partition=each.partition, offset=-1, error=KafkaError(self._code)) for each in asked]


@pytest.mark.parametrize(("code", "questions"), [(REFUSED, 1), (SILENT, 3)])
def test_a_refusal_is_told_at_once_and_silence_asked_again_until_it_is_given_up(code: int, questions: int) -> None:
    asked = Asked(code)
    with pytest.raises(KafkaException):
        partitions_of(asked, "llm.results", lambda: asked.questions == 3)  # type: ignore[arg-type]
    assert asked.questions == questions


def test_partitions_without_a_leader_are_asked_for_again_until_it_is_given_up() -> None:
    asked = Asked(KafkaError.LEADER_NOT_AVAILABLE, is_of_partitions=True)
    with pytest.raises(KafkaException):
        start_positions(asked, [TopicPartition("t", 0)], "now", lambda: asked.questions == 2)  # type: ignore[arg-type]
    assert asked.questions == 2
