"""What a request's head may look like: checked before a byte of its body is read."""

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Final

from producers.gateway.intake_rules import BodyRule, IntakeRules
from producers.gateway.problems import Problem

Scope = Mapping[str, Any]

_ONCE: Final = frozenset(
    {
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"host",
        b"idempotency-key",
        b"last-event-id",
        b"x-forwarded-for",
    }
)
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_HOST: Final = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?")
_PROBES: Final = frozenset({"/livez", "/readyz", "/metrics"})
"""Asked under an address of the moment by those who run it."""
_WITH_BODIES: Final = frozenset({"POST", "PUT", "PATCH"})
_NUL: Final = re.compile(rb"%00|\x00")
_DIGITS: Final = re.compile(rb"\d{1,19}")
_CHARSET: Final = re.compile(r'charset\s*=\s*"?([^\s";]+)', re.IGNORECASE)
_CHARSETS: Final = frozenset({"utf-8", "utf8", "us-ascii"})
_ENCODINGS: Final = frozenset({"", "identity", "gzip"})


def check_head(scope: Scope, rules: IntakeRules) -> None:
    """Raises Problem 400, 413, 414, 415, 421, 431."""
    _check_url(scope, rules)
    headers = _checked_headers(scope, rules)
    _check_host(headers.get(b"host", b"").decode("latin-1"), scope["path"], rules)
    if scope["method"] in _WITH_BODIES:
        _check_body(headers, rules.body_rule(scope["path"]))


def has_body(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a body is announced."""
    return headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers


def client_address(scope: Scope, headers: Mapping[bytes, bytes], rules: IntakeRules) -> str:
    """Who calls: the peer, or whom the nearest proxies that we trust name, the last that we do not trust first."""
    address = str((scope.get("client") or ("", 0))[0])
    named = headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",")
    while named and _trusted(address, rules):
        nearer = named.pop().strip()
        if not _is_address(nearer):
            break
        address = nearer
    return address


def _check_url(scope: Scope, rules: IntakeRules) -> None:
    query = scope.get("query_string", b"")
    if len(scope.get("raw_path") or b"") + len(query) > rules.max_url_bytes:
        detail = f"the URL is longer than {rules.max_url_bytes} bytes"
        raise Problem(414, "url_too_long", detail, "Ask for less at a time.")
    if "\0" in scope["path"] or _NUL.search(query):
        raise Problem(400, "invalid_request", "the URL holds the character NUL", "Leave it out.")


def _checked_headers(scope: Scope, rules: IntakeRules) -> dict[bytes, bytes]:
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    size = sum(len(name) + len(value) for name, value in headers)
    if len(headers) > rules.max_headers or size > rules.max_headers_bytes:
        detail = f"more than {rules.max_headers} headers, or {rules.max_headers_bytes} bytes of them"
        raise Problem(431, "headers_too_large", detail, "Send fewer or shorter headers.")
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if _CONTROL.search(value):
            raise Problem(400, "header_invalid", "a header holds a control character", "Send printable characters.")
        if name in _ONCE and name in found:
            detail = f"the header {name.decode('latin-1')} stands twice"
            raise Problem(400, "header_invalid", detail, "Send it once.")
        found[name] = value
    return found


def _check_host(host: str, path: str, rules: IntakeRules) -> None:
    if not _HOST.fullmatch(host):
        raise Problem(400, "host_invalid", "the Host header is missing or malformed", "Send Host: NAME[:PORT].")
    if rules.hosts and path not in _PROBES and re.sub(r":\d+$", "", host).lower() not in rules.hosts:
        raise Problem(421, "host_unknown", "this host is not served here", "Use the gateway's own name.")


def _check_body(headers: Mapping[bytes, bytes], rule: BodyRule) -> None:
    length = headers.get(b"content-length", b"0")
    if not _DIGITS.fullmatch(length):
        raise Problem(400, "header_invalid", "Content-Length is no number", "Send the body's length in bytes.")
    if int(length) > rule.max_bytes:
        raise body_too_large(rule)
    if not has_body(headers):
        return
    kind, _, parameters = headers.get(b"content-type", b"").decode("latin-1").partition(";")
    charset = _CHARSET.search(parameters) if parameters else None
    if kind.strip().lower() not in rule.types or (charset and charset[1].lower() not in _CHARSETS):
        detail = f"the body is none of {', '.join(sorted(rule.types))} in UTF-8"
        raise Problem(415, "content_type_unsupported", detail, "Send one of these, and name it in Content-Type.")
    if headers.get(b"content-encoding", b"").decode("latin-1").strip().lower() not in _ENCODINGS:
        detail = "the body is packed in a way that is not supported"
        headers_of_answer = {"Accept-Encoding": "gzip, identity"}
        raise Problem(
            415, "content_encoding_unsupported", detail, "Send it plain or as gzip.", headers=headers_of_answer
        )


def body_too_large(rule: BodyRule) -> Problem:
    """413, with the bound."""
    detail = f"the body is larger than {rule.max_bytes} bytes, as sent or unpacked"
    return Problem(413, "body_too_large", detail, "Send less at a time; POST /v1/bulk takes long uploads.")


def _trusted(address: str, rules: IntakeRules) -> bool:
    if not rules.trusted_proxies or not _is_address(address):
        return False
    parsed = ip_address(address)
    return any(parsed.version == network.version and parsed in network for network in rules.trusted_proxies)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
