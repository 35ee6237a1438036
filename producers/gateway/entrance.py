"""Letting callers in: the key from the request's headers, its scope, and who is told what."""

import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import Request

from producers.gateway.allowance import take_quota
from producers.gateway.callers import Caller, KeyRing, KeysUnavailableError, Scope
from producers.gateway.problems import Problem
from producers.gateway.quotas import Quotas

_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="headrace"'}
_LONGEST_KEY: Final = 256
_KEYS_AWAY_SECONDS: Final = 2

EntranceCheck = Callable[[Request], Awaitable[Caller]]
"""A dependency of a route: the caller, who may do what the route does. Raises Problem 401, 403, 429, 503."""


class Entrance:
    """An `EntranceCheck`. A class, so that a test can tell which routes have one, and with which scope."""

    def __init__(self, keys: KeyRing, scope: Scope, anonymous: Caller | None, quotas: Quotas | None) -> None:
        self.scope = scope
        self.anonymous = anonymous
        self._keys = keys
        self._quotas = quotas

    async def __call__(self, request: Request) -> Caller:
        caller = await self._caller(request.headers.get("authorization"))
        if self.scope not in caller.scopes and "admin" not in caller.scopes:
            detail = f"the API key lacks the scope `{self.scope}`"
            raise Problem(403, "scope_missing", detail, "Ask for a key with it: headrace keys create --scope ...")
        if self._quotas is not None:
            await take_quota(self._quotas, request, caller)
        return caller

    async def _caller(self, authorization: str | None) -> Caller:
        if authorization is None and self.anonymous is not None:
            return self.anonymous
        secret = _secret_of(authorization)
        if secret is None:
            raise _unknown("no API key was shown")
        try:
            caller = await self._keys.caller_of(secret)
        except KeysUnavailableError:
            raise _away() from None
        if caller is None:
            raise _unknown("the API key is not valid")
        return caller


def lets_in(keys: KeyRing, scope: Scope, anonymous: Caller | None = None, *, quotas: Quotas | None = None) -> Entrance:
    """Lets in whoever shows a valid key with `scope` (or `admin`), as a bearer token or as a password of basic auth.

    `anonymous` is who calls without any credentials; None lets nobody in without. With `quotas` the call is counted
    here. A route that knows more of what it uses (a body, a user) counts by itself instead: a call is counted once.
    """
    return Entrance(keys, scope, anonymous, quotas)


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
