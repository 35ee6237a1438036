"""`headrace dead-letters list|show|redrive|purge`: records nobody could use."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.cli.errors import NOT_FOUND, PARTIAL, USAGE, CommandError

if TYPE_CHECKING:
    from ops.dead_letters import LetterFilter
    from ops.redrive import Forecast
    from streams.settings import Settings

Reason = Annotated[str | None, typer.Option(help="Only with this reason, such as not_json.")]
Topic = Annotated[str | None, typer.Option(help="Only from this topic.")]
Since = Annotated[str | None, typer.Option(help="Set aside since 90s, 15m, 2h, 3d ago, or a time (ISO 8601).")]
Until = Annotated[str | None, typer.Option(help="Set aside before then.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without, only say what it would do.")]

_HELP = "headrace dead-letters --help"


def list_(
    reason: Reason = None,
    topic: Topic = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="The newest so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List them, newest last: where, when, why, from where. Never what is in them."""
    import json
    from collections import deque

    from ops.dead_letters import letters
    from streams.settings import Settings

    wanted = _filter(reason, topic, since, until)
    with _kafka_answers():
        found = sorted(letters(Settings().kafka_connection, wanted), key=lambda letter: letter.at)
    shown = deque(found, limit)
    if as_json:
        print(json.dumps({"total": len(found), "dead_letters": [letter.about() for letter in shown]}))
        return
    _table(shown)
    print(f"{len(shown)} of {len(found)} dead letters")


def show(
    place: Annotated[str, typer.Argument(help="PARTITION:OFFSET, as `list` tells it.")],
    value: Annotated[bool, typer.Option("--value", help="Show the value too; it may be confidential.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show one: its headers and size, with --value what is in it."""
    import json

    from ops.dead_letters import letter_at
    from streams.settings import Settings

    with _kafka_answers():
        letter = letter_at(Settings().kafka_connection, *_place(place))
    if letter is None:
        raise CommandError(f"there is no dead letter at {place}", "headrace dead-letters list", NOT_FOUND)
    headers = {name: (text or b"").decode(errors="replace") for name, text in letter.record.headers}
    about: dict[str, Any] = letter.about() | {"headers": headers}
    if value:
        about["value"] = (letter.record.value or b"").decode(errors="backslashreplace")
    if as_json:
        print(json.dumps(about))
        return
    for name, text in [*about.items(), *headers.items()]:
        if name not in {"headers", "value"}:
            print(f"{name}: {_printable(str(text))}")
    if value:
        print(f"\n{_printable(about['value'])}")


def redrive(  # noqa: PLR0913, PLR0917 - one parameter for each option of the command
    places: Annotated[list[str] | None, typer.Argument(help="PARTITION:OFFSET of some; without, all that fit.")] = None,
    reason: Reason = None,
    topic: Topic = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    per_second: Annotated[float, typer.Option(min=0.1, help="How fast at most.")] = 100,
    again: Annotated[bool, typer.Option("--again", help="Also those that were redriven before.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Put them back on the topic they came from, each once. Says what that may cost; does it with --yes."""
    import json
    from dataclasses import asdict
    from datetime import UTC, datetime

    from streams.settings import Settings

    chosen = frozenset("{}:{}".format(*_place(place)) for place in places or ())
    wanted = _filter(reason, topic, since, until or datetime.now(UTC).isoformat(), chosen)
    told, done = _redrive(Settings(), wanted, limit, per_second, again=again, yes=yes)
    if as_json:
        print(json.dumps({"forecast": asdict(told), "redriven": done}, default=str))
    else:
        _tell(told, again=again)
        print("dry run: nothing was sent; --yes sends them" if done is None else f"redriven: {done['sent']}")
    if done is not None and done["refused"]:
        raise CommandError(f"the broker refused {done['refused']}", "headrace dead-letters redrive --yes", PARTIAL)


def purge(
    place: Annotated[str | None, typer.Argument(help="PARTITION:OFFSET: up to and with this one.")] = None,
    until: Until = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Delete the oldest for good: of one partition up to a place, or of all before a time. Does it with --yes."""
    import json

    from ops import dead_letters
    from streams.settings import Settings

    if (place is None) == (until is None):
        raise CommandError("purge takes either PARTITION:OFFSET or --until", _HELP, USAGE)
    kafka = Settings().kafka_connection
    with _kafka_answers():
        if place is None:
            ends = dead_letters.ends_at(kafka, _moment(until or "", "--until"))
        else:
            partition, offset = _place(place)
            if dead_letters.letter_at(kafka, partition, offset) is None:
                raise CommandError(f"there is no dead letter at {place}", "headrace dead-letters list", NOT_FOUND)
            ends = {partition: offset + 1}
        counts = dead_letters.counts_before(kafka, ends)
        if yes:
            dead_letters.purge(kafka, ends)
    if as_json:
        print(json.dumps({"letters": sum(counts.values()), "purged": yes}))
    else:
        print(f"{'purged' if yes else 'dry run, --yes would purge'}: {sum(counts.values())} dead letters")


def _redrive(
    settings: "Settings",
    wanted: "LetterFilter",
    limit: int | None,
    per_second: float,
    *,
    again: bool,
    yes: bool,
) -> "tuple[Forecast, dict[str, int] | None]":
    import time
    from dataclasses import asdict

    from ops.dead_letters import letters
    from ops.redrive import forecast, pace_of, redrive, to_send
    from producers.blocking_publisher import BlockingPublisher

    with _kafka_answers(), _book(settings) as book:
        written = book.written()
        told = forecast(letters(settings.kafka_connection, wanted), written, settings.default_model, limit, again=again)
        if not yes:
            return told, None
        publisher = BlockingPublisher(settings.kafka_connection)
        try:
            pace = pace_of(per_second, time.monotonic, time.sleep)
            chosen = to_send(letters(settings.kafka_connection, wanted), written, limit, again=again)
            return told, asdict(redrive(chosen, book, publisher.publish, pace, again=again))
        finally:
            publisher.close()


def _tell(told: "Forecast", *, again: bool) -> None:
    print(f"to redrive:         {told.letters}")
    print(f"requests to answer: {told.requests}, at most {told.cost_usd:.4f} USD (upper bound)", end="")
    print(f" and {told.unpriced} of unknown price" if told.unpriced else "")
    if told.still_unreadable:
        print(f"still unreadable:   {told.still_unreadable}, would become dead letters again")
    if told.without_way_back:
        print(f"without a way back: {told.without_way_back}, their topic takes none")
    if told.redriven_before and not again:
        print(f"redriven before:    {told.redriven_before}, left alone (--again sends them too)")
    if told.unconfirmed:
        print(f"unconfirmed:        {told.unconfirmed}, begun by a run that ended; they may be there or not")


def _table(shown: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("place", "at", "reason", "from", "bytes", "rule"):
        table.add_column(heading, no_wrap=heading != "rule", overflow="fold")
    for letter in shown:
        about = letter.about()
        cells = (about[name] for name in ("place", "at", "reason", "origin", "value_bytes", "message"))
        table.add_row(*(_plain("-" if cell is None else str(cell)) for cell in cells))
    Console().print(table)


def _plain(text: str) -> Any:
    # Others' text: no markup, no terminal sequences.
    from rich.text import Text

    return Text(_printable(text))


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "?" for letter in text)


def _filter(
    reason: str | None, topic: str | None, since: str | None, until: str | None, places: frozenset[str] = frozenset()
) -> "LetterFilter":
    from ops.dead_letters import LetterFilter

    return LetterFilter(
        reason,
        topic,
        None if since is None else _moment(since, "--since"),
        None if until is None else _moment(until, "--until"),
        places,
    )


def _moment(text: str, option: str) -> Any:
    from ops.cli.moments import moment_of

    return moment_of(text, f"{option} takes 90s, 15m, 2h, 3d or an ISO 8601 time", _HELP)


def _place(text: str) -> tuple[int, int]:
    partition, _, offset = text.partition(":")
    if not (partition.isdecimal() and offset.isdecimal() and len(partition) < 7 and len(offset) < 19):  # noqa: PLR2004
        raise CommandError("a dead letter is named PARTITION:OFFSET, such as 0:17", "headrace dead-letters list", USAGE)
    return int(partition), int(offset)


@contextmanager
def _kafka_answers() -> Iterator[None]:
    from confluent_kafka import KafkaException

    from streams.subscribe_start import TopicMissingError

    try:
        yield
    except TopicMissingError as error:
        raise CommandError(str(error), "headrace topics apply") from error
    except KafkaException as error:
        raise CommandError(f"Kafka answered: {error.args[0].str()}", "headrace status") from error


@contextmanager
def _book(settings: "Settings") -> Iterator[Any]:
    import psycopg

    from ops.redrive_book import RedriveBook

    try:
        book = RedriveBook(settings.postgres.get_secret_value())
        try:
            yield book
        finally:
            book.close()
    except psycopg.errors.UndefinedTable as error:
        raise CommandError("Postgres has no table of redrives yet", "headrace migrate") from error
    except psycopg.Error as error:
        raise CommandError(
            f"Postgres keeps what was redriven and does not answer ({type(error).__name__})", "headrace status"
        ) from error
