"""Which partitions a worker holds, as the broker sees it."""

from concurrent.futures import TimeoutError as TooLateError

from ops.local.lag import Partition
from schemas.topics import REQUEST_TOPIC_OF_LANE

_ANSWER_SECONDS = 2.0


def partitions_of(bootstrap: str, worker: str) -> set[Partition]:
    """The request partitions assigned to the worker of that name, in both lanes; none when nobody can say."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    groups = {f"headrace-worker-{lane}": f"{worker}-{lane}" for lane in REQUEST_TOPIC_OF_LANE}
    asked = admin.describe_consumer_groups(list(groups), request_timeout=_ANSWER_SECONDS)
    held: set[Partition] = set()
    for group, answer in asked.items():
        try:
            members = answer.result(_ANSWER_SECONDS).members
        except (KafkaException, TooLateError):
            continue
        for member in members:
            if member.group_instance_id == groups[group] and member.assignment:
                held |= {(place.topic, place.partition) for place in member.assignment.topic_partitions}
    return held
