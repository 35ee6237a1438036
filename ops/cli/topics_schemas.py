"""`headrace topics schemas apply|diff`: the committed JSON Schemas against a Confluent schema registry."""

from typing import TYPE_CHECKING, Annotated

import typer

from ops.cli.errors import FAILED, USAGE, CommandError

if TYPE_CHECKING:
    from producers.schema_registry import SchemaRegistry

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


def apply(as_json: AsJson = False) -> None:
    """Register the schema of every public topic. Safe to repeat."""
    import json

    from producers.schema_registry import SCHEMA_OF_SUBJECT, SchemaRegistryError, committed_schema

    registry = _registry()
    try:
        ids = {subject: registry.register(subject, committed_schema(subject)).number for subject in SCHEMA_OF_SUBJECT}
    except SchemaRegistryError as error:
        raise CommandError(str(error)) from error
    if as_json:
        print(json.dumps({"registered": ids}))
    else:
        print("\n".join(f"{subject}  {SCHEMA_OF_SUBJECT[subject]}  id {number}" for subject, number in ids.items()))


def diff(as_json: AsJson = False) -> None:
    """Name every public topic whose schema is not registered as it is committed; exit 1 when there is one."""
    import json

    from producers.schema_registry import SCHEMA_OF_SUBJECT, SchemaRegistryError, committed_schema

    registry = _registry()
    try:
        missing = [each for each in SCHEMA_OF_SUBJECT if registry.lookup(each, committed_schema(each)) is None]
    except SchemaRegistryError as error:
        raise CommandError(str(error)) from error
    if as_json:
        print(json.dumps({"missing": missing}))
    else:
        print("\n".join(f"{subject}  is not registered" for subject in missing) or "the schemas are registered")
    if missing:
        raise typer.Exit(FAILED)


def _registry() -> "SchemaRegistry":
    from producers.schema_registry import SchemaRegistry, SchemaRegistryError
    from streams.settings import Settings

    url = Settings().schema_registry_url
    if url is None:
        raise CommandError("no schema registry is set: HEADRACE_SCHEMA_REGISTRY_URL is its address", None, USAGE)
    try:
        return SchemaRegistry(url.get_secret_value())
    except SchemaRegistryError as error:
        raise CommandError(str(error), None, USAGE) from error
