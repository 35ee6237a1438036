"""What both clients share of the HTTP library: its options, calls in its words, its failures in ours."""

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

import httpx2

from producers.client.calls import Answer, Call, Lost

_USER_AGENT: Final = "headrace-client"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Of each step of a call; where the gateway itself waits, that comes on top of `read_seconds`."""

    connect_seconds: float = 5.0
    read_seconds: float = 30.0
    write_seconds: float = 30.0
    pool_seconds: float = 30.0
    """Until one of the client's connections is free."""

    def of(self, call: Call) -> httpx2.Timeout:
        """As the library has it."""
        return httpx2.Timeout(
            connect=self.connect_seconds,
            read=self.read_seconds + call.waits_seconds,
            write=self.write_seconds,
            pool=self.pool_seconds,
        )


def options_of(url: str, key: str | None, more: dict[str, Any]) -> dict[str, Any]:
    """Options of the library's client, for an address that may carry the key as its password. Raises ValueError."""
    address = httpx2.URL(url)
    secret = key or unquote(address.password)
    if address.scheme not in {"http", "https"} or not address.host:
        raise ValueError("the gateway's address is http://HOST:PORT or https://HOST")
    if not secret or not secret.isascii() or not secret.isprintable():
        raise ValueError("an API key is needed, as `key` or as the address's password: headrace keys create")
    return {
        # The environment is not read: a .netrc in it would replace the key.
        "trust_env": False,
        "follow_redirects": False,
        **more,
        "base_url": address.copy_with(username=None, password=None),
        "headers": {"User-Agent": _USER_AGENT, **more.get("headers", {}), "Authorization": f"Bearer {secret}"},
    }


def sent(call: Call, timeouts: Timeouts, content: Any) -> dict[str, Any]:
    """Arguments of the library's `request` and `stream`."""
    return {
        "method": call.method,
        "url": call.path,
        "params": list(call.query) or None,
        "headers": dict(call.headers),
        "content": content,
        "timeout": timeouts.of(call),
    }


def answer_in(response: httpx2.Response) -> Answer:
    """A response that was read."""
    return Answer(
        response.status_code, {name.lower(): value for name, value in response.headers.items()}, response.content
    )


def lost_by(error: httpx2.RequestError) -> Lost:
    """The failure without the library's words."""
    return Lost(f"no whole answer came: {type(error).__name__}")
