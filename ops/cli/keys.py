"""`headrace keys create|list|rotate|revoke|local`: who may use the gateway."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

import typer

from ops.cli.errors import NOT_FOUND, PARTIAL, USAGE, CommandError

if TYPE_CHECKING:
    from ops.key_books import KeyDesk, KeyWish, NewKey
    from streams.access.keys import StoredKey

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
KeyIdArgument = Annotated[
    str, typer.Argument(metavar="KEY_ID", help="The public id, as `headrace keys list` shows it.")
]
Done = TypeVar("Done")


def create(  # noqa: PLR0913, PLR0917 - one option each
    tenant: Annotated[str, typer.Option(help="Whose requests it submits and reads.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="submit, read or admin; repeat it. Otherwise: submit and read.")
    ] = None,
    name: Annotated[str, typer.Option(help="What it is for; shown in lists.")] = "",
    expires_days: Annotated[float, typer.Option(min=0, help="How long it lasts; 0: until it is revoked.")] = 365,
    model: Annotated[list[str] | None, typer.Option(help="A model it may ask; repeat it. Otherwise: all.")] = None,
    per_second: Annotated[float | None, typer.Option(help="Calls per second.")] = None,
    burst: Annotated[int | None, typer.Option(help="Calls at once, after a quiet time.")] = None,
    per_day: Annotated[int | None, typer.Option(help="Requests per day (UTC).")] = None,
    bytes_per_day: Annotated[int | None, typer.Option(help="Bytes of bodies per day (UTC).")] = None,
    bulk_jobs: Annotated[int | None, typer.Option(help="Bulk jobs running at the same time.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key. It is shown once: only its digest is kept."""
    from producers.gateway.callers import KeyQuotas

    try:
        quotas = KeyQuotas(per_second, burst, per_day, bulk_jobs, bytes_per_day)
    except ValueError as error:
        raise CommandError(f"{error}.", "headrace keys create --help", USAGE) from None
    wish = _wish(tenant, scope, name, expires_days, model, quotas)
    _show_new(_at_desk(lambda desk: desk.create(wish)), as_json=as_json)


def list_(
    tenant: Annotated[str | None, typer.Option(help="Keys of this tenant alone.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Expired and revoked ones, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List keys, newest first. None of them can be shown again."""
    now = datetime.now(UTC)
    keys = _at_desk(lambda desk: desk.listed(tenant))
    shown = [key for key in keys if everything or key.state(now) in {"active", "replaced"}]
    if as_json:
        print(json.dumps({"keys": [_told(key, now) for key in shown]}))
        return
    for key in shown:
        ends = "never expires" if key.expires_at is None else f"until {key.expires_at:%Y-%m-%d %H:%M}"
        scopes = ",".join(sorted(key.scopes))
        print(f"{key.key_id}  {key.state(now):<8}  {key.tenant:<16}  {scopes:<18}  {ends}  {key.name}".rstrip())
    print(f"{len(shown)} keys")


def rotate(
    key_id: KeyIdArgument,
    overlap_hours: Annotated[float, typer.Option(min=0, max=24 * 90, help="How long both are good.")] = 24,
    as_json: AsJson = False,
) -> None:
    """Make a key that is good for the same, shown once; the old one ends after an overlap."""
    from producers.gateway.callers import KeyId

    overlap = timedelta(hours=overlap_hours)
    new = _at_desk(lambda desk: desk.rotate(KeyId(key_id), overlap))
    ends = datetime.now(UTC) + overlap
    _show_new(new, as_json=as_json, replaces=key_id, old_expires_at=ends.isoformat(timespec="seconds"))


def revoke(
    key_ids: Annotated[list[str], typer.Argument(metavar="KEY_ID...", help="Public ids.")],
    as_json: AsJson = False,
) -> None:
    """End keys at once: every gateway knows within 3 seconds (HEADRACE_KEY_FRESH_SECONDS). Safe to repeat."""
    from producers.gateway.callers import KeyId

    async def all_of_them(desk: "KeyDesk") -> "dict[str, StoredKey | None]":
        return {key_id: await desk.revoke(KeyId(key_id)) for key_id in key_ids}

    found = _at_desk(all_of_them)
    unknown = sorted(key_id for key_id, key in found.items() if key is None)
    revoked = sorted(found.keys() - set(unknown))
    print(json.dumps({"revoked": revoked, "unknown": unknown}) if as_json else f"revoked: {', '.join(revoked) or '-'}")
    if unknown:
        code = PARTIAL if revoked else NOT_FOUND
        raise CommandError(f"There is no key {', '.join(unknown)}.", "headrace keys list --all", code)


def local(as_json: AsJson = False) -> None:
    """Show the local stack's own key (tenant `local`, every scope); make it if there is none."""
    from ops.local.local_key import local_key
    from producers.gateway.callers import KeysUnavailableError
    from streams.settings import Settings

    settings = Settings()
    if settings.environment != "local":
        raise CommandError("There is a local key on a local stack alone.", "headrace keys create --help", USAGE)
    try:
        key = asyncio.run(local_key(settings, settings.home))
    except KeysUnavailableError as error:
        raise CommandError(str(error), "headrace status") from None
    print(json.dumps({"key": key}) if as_json else key)


def _wish(
    tenant: str, scope: list[str] | None, name: str, expires_days: float, model: list[str] | None, quotas: Any
) -> "KeyWish":
    from ops.key_books import KeyWish
    from producers.gateway.callers import SCOPES, Scope
    from schemas.identity import TENANT_PATTERN

    scopes = frozenset(scope or ("submit", "read"))
    if unknown := sorted(scopes - SCOPES):
        raise CommandError(f"There is no scope {', '.join(unknown)}.", "headrace keys create --help", USAGE)
    if not re.fullmatch(TENANT_PATTERN, tenant):
        complaint = "A tenant is 1 to 64 of letters, digits, dot, dash, underscore."
        raise CommandError(complaint, "headrace keys create --help", USAGE)
    lifetime = timedelta(days=expires_days) if expires_days else None
    models = frozenset(model) if model else None
    return KeyWish(tenant, cast("frozenset[Scope]", scopes), name, lifetime, models, quotas)


def _show_new(new: "NewKey", *, as_json: bool, **more: str) -> None:
    text, told = new.text.get_secret_value(), _told(new.stored, datetime.now(UTC))
    if as_json:
        print(json.dumps({"key": text, **told, **more}))
        return
    ends = (
        "until it is revoked" if new.stored.expires_at is None else f"until {new.stored.expires_at:%Y-%m-%d %H:%M} UTC"
    )
    print(text)
    print(f"Keep it now, it is not shown again. Tenant {new.stored.tenant}, {', '.join(told['scopes'])}, good {ends}.")
    if "replaces" in more:
        print(f"{more['replaces']} is good until {more['old_expires_at']}.")


def _told(key: "StoredKey", now: datetime) -> dict[str, Any]:
    """What may be shown of a key: all that is kept but its digest."""
    return {
        "key_id": key.key_id,
        "state": key.state(now),
        "tenant": key.tenant,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "allowed_models": None if key.allowed_models is None else sorted(key.allowed_models),
        "quotas": {name: value for name, value in asdict(key.quotas).items() if value is not None},
        "created_at": key.created_at.isoformat(),
        "expires_at": None if key.expires_at is None else key.expires_at.isoformat(),
        "revoked_at": None if key.revoked_at is None else key.revoked_at.isoformat(),
        "replaced_by": key.replaced_by,
    }


def _at_desk(work: "Callable[[KeyDesk], Awaitable[Done]]") -> Done:
    from ops.key_books import KeyNotActiveError, PepperMissingError, key_desk
    from producers.gateway.callers import KeysUnavailableError
    from streams.settings import Settings

    async def do() -> Done:
        async with key_desk(Settings()) as desk:
            return await work(desk)

    try:
        return asyncio.run(do())
    except KeyNotActiveError as error:
        raise CommandError(str(error), "headrace keys list --all", NOT_FOUND) from None
    except (KeysUnavailableError, PepperMissingError, ValueError) as error:
        raise CommandError(str(error), "headrace status") from None
