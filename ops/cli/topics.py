"""`headrace topics apply|diff`: the cluster's topics against the declaration."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ops.cli.errors import FAILED, CommandError

if TYPE_CHECKING:
    from ops.topics import Difference

Replication = Annotated[
    int | None, typer.Option(min=1, max=9, help="Copies of each partition (default: HEADRACE_KAFKA_REPLICATION, 1).")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


def apply(replication: Replication = None, as_json: AsJson = False) -> None:
    """Create missing topics, add partitions, set configuration. Never deletes. Safe to repeat."""
    import json

    from ops.topics import ClusterUnreachableError, apply_topics
    from streams.settings import Settings

    settings = Settings()
    try:
        applied = apply_topics(settings.kafka_connection, replication or settings.kafka_replication)
    except ClusterUnreachableError as error:
        raise CommandError(str(error), "headrace status") from error
    if as_json:
        print(json.dumps(asdict(applied)))
        return
    for difference in applied.changed:
        print(f"changed  {_told(difference)}")
    for difference in applied.remaining:
        print(f"remains  {_told(difference)} (would move or drop data; change it by hand)")
    if not applied.changed and not applied.remaining:
        print("the topics are as declared")


def diff(replication: Replication = None, as_json: AsJson = False) -> None:
    """Name every topic and setting that is not as declared; exit 1 when there is one."""
    import json

    from ops.topics import ClusterUnreachableError, diff_topics
    from streams.settings import Settings

    settings = Settings()
    try:
        differences = diff_topics(settings.kafka_connection, replication or settings.kafka_replication)
    except ClusterUnreachableError as error:
        raise CommandError(str(error), "headrace status") from error
    if as_json:
        print(json.dumps({"differences": [asdict(difference) for difference in differences]}))
    elif differences:
        print("\n".join(_told(difference) for difference in differences))
    else:
        print("the topics are as declared")
    if differences:
        raise typer.Exit(FAILED)


def _told(difference: "Difference") -> str:
    have = "missing" if difference.have is None else difference.have
    return f"{difference.topic}  {difference.setting}: have {have}, want {difference.want}"
