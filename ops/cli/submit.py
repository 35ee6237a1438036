"""`headrace submit`: one request from the command line."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.cli.errors import NOT_FOUND, USAGE, CommandError

if TYPE_CHECKING:
    from schemas.request import PromptRequest
    from schemas.result import PromptResult
    from schemas.topics import Lane
    from streams.settings import Settings

_DEFAULT_WAIT_SECONDS = 300.0


def submit(  # noqa: PLR0913, PLR0917 - one parameter for each option of the command
    prompt: Annotated[list[str] | None, typer.Argument(help="The prompt; `-` reads it from standard input.")] = None,
    tenant: Annotated[str, typer.Option(help="Who it is for.")] = "default",
    template: Annotated[str | None, typer.Option(help="Ask by template (name@version) instead of a prompt.")] = None,
    var: Annotated[list[str] | None, typer.Option(help="A template's variable: name=value, or name=@FILE.")] = None,
    model: Annotated[str | None, typer.Option(help="Which model answers.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="The longest answer.")] = None,
    system: Annotated[str | None, typer.Option(help="System prompt.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="A label: key=value.")] = None,
    lane: Annotated[str, typer.Option(help="interactive or bulk.")] = "interactive",
    user: Annotated[str | None, typer.Option(help="Which user asks.")] = None,
    department: Annotated[str | None, typer.Option(help="Which department asks.")] = None,
    deadline_seconds: Annotated[float | None, typer.Option(min=0.001, help="No answer is wanted later.")] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Neither take nor store a known answer.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the answer and print it.")] = False,
    timeout_seconds: Annotated[
        float, typer.Option(min=0.1, help="How long --wait waits for the answer.")
    ] = _DEFAULT_WAIT_SECONDS,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Publish one request and print its id, or with --wait its answer."""
    from producers.building import InvalidRequestError, check_template, request_from
    from streams.settings import Settings

    text = _prompt_of(prompt)
    fields: dict[str, Any] = {"tenant": tenant, "template": template, "model": model, "system": system}
    fields |= {"department": department, "user_id": user, "max_tokens": max_tokens, "prompt": text}
    fields |= {"deadline": _deadline(deadline_seconds), "cache": {"mode": "bypass"} if no_cache else None}
    fields |= {"labels": _pairs(label, "--label"), "variables": _variables(var)}
    try:
        request = request_from({name: value for name, value in fields.items() if value is not None})
        check_template(request)
    except InvalidRequestError as error:
        raise CommandError(str(error), "headrace submit --help", USAGE) from error
    result = _publish(request, _lane(lane), Settings(), timeout_seconds if wait else None)
    if result is None:
        print(f'{{"request_id": "{request.request_id}"}}' if as_json else request.request_id)
    else:
        _tell(result, as_json)


def _publish(
    request: "PromptRequest", lane: "Lane", settings: "Settings", wait_seconds: float | None
) -> "PromptResult | None":
    from contextlib import ExitStack

    from producers.publisher import PublishError
    from producers.request_producer import RequestProducer
    from streams.framing import frame_of
    from streams.subscribe import ResultSubscriber

    with ExitStack() as held:
        # Subscribed before published: the answer may be there at once.
        subscriber = None
        if wait_seconds is not None:
            subscriber = held.enter_context(ResultSubscriber(settings.kafka_connection, tenant=request.tenant))
        # Silent: the client logs each refused connection, hundreds of them; the one error that follows says it all.
        producer = held.enter_context(
            RequestProducer(
                settings.kafka_connection, delivery_timeout_seconds=30, frame=frame_of(settings), log_level=0
            )
        )
        try:
            producer.submit(request, lane=lane, wait=True)
        except PublishError as error:
            raise CommandError(f"the request was not accepted: {error}", "headrace status") from error
        if subscriber is None or wait_seconds is None:
            return None
        return _result_of(request, subscriber.results, wait_seconds)


def _result_of(request: "PromptRequest", results: Any, wait_seconds: float) -> "PromptResult":
    import time

    deadline = time.monotonic() + wait_seconds
    while (left := deadline - time.monotonic()) > 0:
        for result in results(min(left, 0.25)):
            if result.request_id == request.request_id:
                found: PromptResult = result
                return found
            if time.monotonic() > deadline:
                break
    raise CommandError(
        f"request {request.request_id} is accepted but has no answer after {wait_seconds:g} s",
        f"headrace watch --tenant {request.tenant} --since 1h",
        NOT_FOUND,
    )


def _tell(result: "PromptResult", as_json: bool) -> None:
    if as_json:
        print(result.model_dump_json(exclude_none=True))
    elif result.answer is not None:
        print(result.answer.text)
    if result.status != "completed":
        why = f"{result.error.code}: {result.error.message}" if result.error else "no reason given"
        raise CommandError(f"request {result.request_id} is {result.status} ({why})", "headrace doctor")


def _prompt_of(words: list[str] | None) -> str | None:
    if not words:
        return None
    return sys.stdin.read() if words == ["-"] else " ".join(words)


def _pairs(given: list[str] | None, option: str) -> dict[str, str] | None:
    pairs = [pair.partition("=") for pair in given or ()]
    if any(not sign for _, sign, _ in pairs):
        raise CommandError(f"{option} takes name=value", "headrace submit --help", USAGE)
    return {name: value for name, _, value in pairs} or None


def _variables(given: list[str] | None) -> dict[str, str] | None:
    pairs = _pairs(given, "--var")
    try:
        return pairs and {
            name: Path(value[1:]).read_text(encoding="utf-8") if value.startswith("@") else value
            for name, value in pairs.items()
        }
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"--var names a file that cannot be read ({type(error).__name__})", None, USAGE) from error


def _deadline(seconds: float | None) -> Any:
    from datetime import UTC, datetime, timedelta

    return None if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds)


def _lane(name: str) -> "Lane":
    match name:
        case "interactive" | "bulk":
            return name
    raise CommandError("--lane takes interactive or bulk", "headrace submit --help", USAGE)
