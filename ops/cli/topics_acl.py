"""`headrace topics acl apply|diff`: who may do what on the cluster, against the declaration."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ops.cli.errors import FAILED, USAGE, CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ops.acls import Right
    from schemas.acls import RoleName
    from streams.settings import Settings

UserOfRole = Annotated[
    list[str] | None,
    typer.Option("--user", metavar="ROLE=USER", help="Who has a role (default headrace-ROLE); may be repeated."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Passwords = Annotated[
    Path | None,
    typer.Option(
        help='JSON file {"user": "password"}: set these SCRAM-SHA-512 credentials too. '
        "HEADRACE_KAFKA_USER_PASSWORDS holds the same."
    ),
]
Prune = Annotated[bool, typer.Option("--prune", help="Also revoke what these users may do beyond the declaration.")]


def apply(user: UserOfRole = None, passwords: Passwords = None, prune: Prune = False, as_json: AsJson = False) -> None:
    """Grant every role exactly what its process needs, and create users where passwords are given. Safe to repeat."""
    import json

    from ops.acls import apply_acls
    from ops.topics import ClusterUnreachableError
    from streams.settings import Settings

    settings = Settings()
    users = _users(user)
    known = {name for named in users.values() for name in named}
    try:
        applied = apply_acls(settings.kafka_connection, users, _passwords(passwords, settings, known), prune=prune)
    except ClusterUnreachableError as error:
        raise CommandError(str(error), "headrace status") from error
    if as_json:
        print(json.dumps(asdict(applied)))
        return
    _print("granted", applied.granted)
    _print("revoked", applied.revoked)
    _print("beyond ", applied.remaining, " (`--prune` revokes it)")
    for name in applied.passwords_set:
        print(f"password {name}")
    if not (applied.granted or applied.revoked or applied.remaining):
        print("the rights are as declared")


def diff(user: UserOfRole = None, as_json: AsJson = False) -> None:
    """Name every right that is missing, or there beyond the declaration; exit 1 when there is one."""
    import json

    from ops.acls import diff_acls
    from ops.topics import ClusterUnreachableError
    from streams.settings import Settings

    try:
        found = diff_acls(Settings().kafka_connection, _users(user))
    except ClusterUnreachableError as error:
        raise CommandError(str(error), "headrace status") from error
    if as_json:
        print(json.dumps(asdict(found)))
    else:
        _print("missing", found.missing)
        _print("beyond ", found.surplus)
    if found.missing or found.surplus:
        raise typer.Exit(FAILED)
    if not as_json:
        print("the rights are as declared")


def _users(given: list[str] | None) -> "Mapping[RoleName, tuple[str, ...]]":
    from ops.acls import users_of_roles

    named: dict[RoleName, list[str]] = {}
    roles = users_of_roles()
    for each in given or ():
        role, _, name = each.partition("=")
        if role not in roles or not name:
            raise CommandError(
                f"--user takes ROLE=USER with a role of {', '.join(roles)}", "headrace topics acl diff --help", USAGE
            )
        named.setdefault(role, []).append(name)
    return users_of_roles(named)


def _passwords(file: Path | None, settings: "Settings", known: set[str]) -> dict[str, str]:
    found = {user: password.get_secret_value() for user, password in settings.kafka_user_passwords.items()}
    if file is not None:
        found |= _passwords_in(file)
    if unknown := sorted(found.keys() - known):
        raise CommandError(
            f"passwords are given for {', '.join(unknown)}, who has no role", "headrace topics acl apply --help", USAGE
        )
    if empty := sorted(user for user, password in found.items() if not password):
        raise CommandError(f"the password of {', '.join(empty)} is empty", "openssl rand -hex 24", USAGE)
    return found


def _passwords_in(file: Path) -> dict[str, str]:
    import json

    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError) as error:  # not its text: that would be a password
        raise CommandError(f"{file} cannot be read as JSON ({type(error).__name__})", None, USAGE) from None
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise CommandError(f'{file} must be one JSON object: {{"user": "password"}}', None, USAGE)
    return found


def _print(what: str, rights: "list[Right]", note: str = "") -> None:
    for right in rights:
        stars = "*" if right.prefixed else ""
        denied = "" if right.permission == "allow" else f" ({right.permission})"
        print(f"{what}  {right.user}  {right.operation}  {right.resource} {right.name}{stars}{denied}{note}")
