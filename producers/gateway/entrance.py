"""Letting callers in: the key from the request's headers, its scope, and who is told what."""

import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import Request

from producers.gateway.callers import Caller, KeyRing, KeysUnavailableError, Scope
from producers.gateway.problems import Problem

_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="headrace"'}
_LONGEST_KEY: Final = 256
_KEYS_AWAY_SECONDS: Final = 2

EntranceCheck = Callable[[Request], Awaitable[Caller]]
"""A dependency of a route: the caller, who may do what the route does. Raises Problem 401, 403, 503."""


def lets_in(keys: KeyRing, scope: Scope, anonymous: Caller | None = None) -> EntranceCheck:
    """Lets in whoever shows a valid key with `scope` (or `admin`), as a bearer token or as a password of basic auth.

    `anonymous` is who calls without any credentials; None lets nobody in without.
    """

    async def check(request: Request) -> Caller:
        authorization = request.headers.get("authorization")
        if authorization is None and anonymous is not None:
            return anonymous
        secret = _secret_of(authorization)
        if secret is None:
            raise _unknown("no API key was shown")
        try:
            caller = await keys.caller_of(secret)
        except KeysUnavailableError:
            raise _away() from None
        if caller is None:
            raise _unknown("the API key is not valid")
        if scope not in caller.scopes and "admin" not in caller.scopes:
            detail = f"the API key lacks the scope `{scope}`"
            raise Problem(403, "scope_missing", detail, "Ask for a key with it: headrace keys create --scope ...")
        return caller

    return check


def _secret_of(authorization: str | None) -> str | None:
    kind, _, value = (authorization or "").partition(" ")
    value = value.strip()
    if not value or len(value) > 4 * _LONGEST_KEY:
        return None
    match kind.lower():
        case "bearer":
            secret = value
        case "basic":
            secret = _password_of(value)
        case _:
            return None
    return secret if 0 < len(secret) <= _LONGEST_KEY and secret.isascii() else None


def _password_of(credentials: str) -> str:
    try:
        return base64.b64decode(credentials, validate=True).decode("ascii").partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _unknown(detail: str) -> Problem:
    next_step = "Send `Authorization: Bearer KEY`; keys are made by: headrace keys create"
    return Problem(401, "key_invalid", detail, next_step, headers=_CHALLENGE)


def _away() -> Problem:
    headers = {"Retry-After": str(_KEYS_AWAY_SECONDS)}
    return Problem(503, "keys_unavailable", "API keys cannot be checked now", "Send it again later.", headers=headers)
