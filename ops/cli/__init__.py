"""The `headrace` command: one light module per group of commands, registered here."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from ops.cli import (
    bench,
    budget,
    bulk,
    cache,
    cancel,
    chaos,
    cost,
    dead_letters,
    demo,
    doctor,
    gateway,
    keys,
    ledger,
    migrate,
    rehearse,
    resume,
    retries,
    sink,
    stack,
    submit,
    topics,
    topics_acl,
    topics_schemas,
    watch,
    worker,
)
from ops.cli.errors import FAILED, CommandError

app = typer.Typer(
    name="headrace",
    help="Answers LLM requests from Kafka: nothing lost, nothing paid twice.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help: half the time to show it
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    # The flag is read in `run`, which also sees the errors of registration and parsing.
    pass


app.command("demo")(demo.demo)
app.command("up")(stack.up)
app.command("down")(stack.down)
app.command("status")(stack.status)
app.command("logs")(stack.logs)
app.command("doctor")(doctor.doctor)
app.command("bench")(bench.bench)
app.command("worker")(worker.worker)
app.command("sink")(sink.sink)
app.command("retries")(retries.retries)
app.command("gateway")(gateway.gateway)
app.command("migrate")(migrate.migrate)
app.command("resume")(resume.resume)
app.command("rehearse")(rehearse.rehearse)
app.command("submit")(submit.submit)
app.command("watch")(watch.watch)
app.command("cancel")(cancel.cancel)

bulk_commands = typer.Typer(no_args_is_help=True, help="Files of requests.")
bulk_commands.command("run")(bulk.run)
# A lone command would otherwise take its group's name.
bulk_commands.callback()(lambda: None)
app.add_typer(bulk_commands, name="bulk")

dead_letters_commands = typer.Typer(no_args_is_help=True, help="Records nobody could use.")
dead_letters_commands.command("list")(dead_letters.list_)
dead_letters_commands.command("show")(dead_letters.show)
dead_letters_commands.command("redrive")(dead_letters.redrive)
dead_letters_commands.command("purge")(dead_letters.purge)
app.add_typer(dead_letters_commands, name="dead-letters")

chaos_commands = typer.Typer(no_args_is_help=True, help="Faults under load on a private stack, the books compared.")
chaos_commands.command("run")(chaos.run)
chaos_commands.command("list")(chaos.list_faults)
app.add_typer(chaos_commands, name="chaos")

topics_commands = typer.Typer(no_args_is_help=True, help="The cluster's topics against the declaration.")
topics_commands.command("apply")(topics.apply)
topics_commands.command("diff")(topics.diff)
acl_commands = typer.Typer(no_args_is_help=True, help="Who may do what on the cluster.")
acl_commands.command("apply")(topics_acl.apply)
acl_commands.command("diff")(topics_acl.diff)
topics_commands.add_typer(acl_commands, name="acl")
schemas_commands = typer.Typer(no_args_is_help=True, help="The events' schemas in a schema registry.")
schemas_commands.command("apply")(topics_schemas.apply)
schemas_commands.command("diff")(topics_schemas.diff)
topics_commands.add_typer(schemas_commands, name="schemas")
app.add_typer(topics_commands, name="topics")

ledger_commands = typer.Typer(no_args_is_help=True, help="Who paid for what, and what nobody knows.")
ledger_commands.command("show")(ledger.show)
ledger_commands.command("unknown")(ledger.unknown)
ledger_commands.command("audit")(ledger.audit)
ledger_commands.command("prune")(ledger.prune)
app.add_typer(ledger_commands, name="ledger")


cache_commands = typer.Typer(no_args_is_help=True, help="Answers already paid for.")
cache_commands.command("stats")(cache.stats)
cache_commands.command("invalidate")(cache.invalidate)
app.add_typer(cache_commands, name="cache")


keys_commands = typer.Typer(no_args_is_help=True, help="Who may use the gateway.")
keys_commands.command("create")(keys.create)
keys_commands.command("list")(keys.list_)
keys_commands.command("rotate")(keys.rotate)
keys_commands.command("revoke")(keys.revoke)
keys_commands.command("local")(keys.local)
app.add_typer(keys_commands, name="keys")


cost_commands = typer.Typer(no_args_is_help=True, help="What was spent, what a file would cost.")
cost_commands.command("report")(cost.report)
cost_commands.command("estimate")(cost.estimate)
cost_commands.command("check")(cost.check)
app.add_typer(cost_commands, name="cost")


budget_commands = typer.Typer(no_args_is_help=True, help="What may be spent, by whom.")
budget_commands.command("set")(budget.set_)
budget_commands.command("show")(budget.show)
budget_commands.command("list")(budget.list_)
budget_commands.command("remove")(budget.remove)
budget_commands.command("rebuild")(budget.rebuild)
app.add_typer(budget_commands, name="budget")


def main() -> None:
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """One command's exit code; an error is told in words, its traceback only after `headrace --debug`."""
    try:
        app(list(arguments), prog_name="headrace")
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else FAILED
    except CommandError as error:
        if "--debug" in arguments[:1]:
            raise
        return _tell(error)
    except Exception as error:
        if "--debug" in arguments[:1]:
            raise
        return _tell(_in_words(error, "headrace --debug " + " ".join(arguments[:1]) + " ..."))
    return 0


def _in_words(error: Exception, again: str) -> CommandError:
    match type(error).__name__:  # by name: most commands never load the client
        case "KafkaRefusedError":
            return CommandError(str(error))
        case "KafkaException":
            from producers.kafka_access import explained

            return CommandError(f"Kafka answered: {explained(error.args[0])}", again)
        case name:
            return CommandError(f"{name}: {error}", again)


def _tell(error: CommandError) -> int:
    print(f"error: {error.message}", file=sys.stderr)
    if error.next_command:
        print(f"next: {error.next_command}", file=sys.stderr)
    return error.exit_code
