"""What a client sends: credentials, settings, parameters and a body in any of four encodings."""

import base64
import binascii
import hmac
import re
import sys
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import lz4.frame  # type: ignore[import-untyped]

from ops.local.clickhouse_front.engine import Query
from ops.local.clickhouse_front.failure import ClickHouseFailure

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAX_BODY_BYTES = 256 * 1024 * 1024
# Names of the HTTP interface itself; what they ask for is answered here or has no meaning for one local engine.
_INTERFACE_NAMES = frozenset({
    "query", "user", "password", "database", "default_format", "session_id", "session_timeout", "session_check",
    "close_session", "query_id", "quota_key", "role", "compress", "decompress", "buffer_size", "wait_end_of_query",
    "client_protocol_version", "stacktrace",
})  # fmt: skip
_SETTING = re.compile(r"[A-Za-z_]\w*")
_DECOMPRESSORS: Mapping[str, Callable[[], Any]] = {
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "zstd": zstd.ZstdDecompressor,
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "deflate": lambda: zlib.decompressobj(wbits=15),
}


@dataclass(frozen=True, slots=True)
class Credentials:
    user: str
    password: str

    def check(self, headers: Mapping[str, str], url: Mapping[str, str]) -> None:
        """Raises 194 when nothing was offered and 516 when it does not match; takes the same time for both names."""
        offered = _offered(headers, url)
        if offered is None:
            raise ClickHouseFailure(194, "Password is required: send user and password (REQUIRED_PASSWORD)")
        user_matches = hmac.compare_digest(offered.user.encode(), self.user.encode())
        password_matches = hmac.compare_digest(offered.password.encode(), self.password.encode())
        if not (user_matches and password_matches):
            raise ClickHouseFailure(516, "Authentication failed: check user and password (AUTHENTICATION_FAILED)")


def _offered(headers: Mapping[str, str], url: Mapping[str, str]) -> Credentials | None:
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(token).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return Credentials("", "")
        return Credentials(user, password)
    if "X-ClickHouse-User" in headers or "X-ClickHouse-Key" in headers:
        return Credentials(headers.get("X-ClickHouse-User", "default"), headers.get("X-ClickHouse-Key", ""))
    if "user" in url or "password" in url:
        return Credentials(url.get("user", "default"), url.get("password", ""))
    return Credentials("", "") if scheme else None


def decode_query(method: str, headers: Mapping[str, str], url: Mapping[str, str], body: bytes) -> Query:
    """`url` holds form fields too. The statement is the `query` parameter, a line break and the body."""
    if url.get("compress") == "1" or url.get("decompress") == "1":
        raise ClickHouseFailure(48, "compress/decompress=1 is not served: use Content-Encoding (NOT_IMPLEMENTED)")
    names = [name for name in url if name not in _INTERFACE_NAMES]
    for name in names:
        if not _SETTING.fullmatch(name):
            raise ClickHouseFailure(115, f"Unknown setting '{name}' (UNKNOWN_SETTING)")
    rest = decompressed(body, headers.get("Content-Encoding", ""))
    return Query(
        sql=url["query"].encode() + b"\n" + rest if url.get("query") else rest,
        database=url.get("database") or headers.get("X-ClickHouse-Database"),
        settings={name: url[name] for name in names if not name.startswith("param_")},
        parameters={name[6:]: url[name] for name in names if name.startswith("param_")},
        default_format=url.get("default_format") or headers.get("X-ClickHouse-Format") or "TabSeparated",
        session_id=url.get("session_id"),
        read_only=method != "POST",
    )


def decompressed(body: bytes, encoding: str, limit_bytes: int = MAX_BODY_BYTES) -> bytes:
    """Clients send one frame per block, so frames follow each other; more than `limit_bytes` is refused (307)."""
    if encoding.lower() in {"", "identity"}:
        return body
    if encoding.lower() not in _DECOMPRESSORS:
        raise ClickHouseFailure(48, f"Content-Encoding {encoding}: use lz4, zstd, gzip or none (NOT_IMPLEMENTED)")
    plain = bytearray()
    while body:
        frame = _DECOMPRESSORS[encoding.lower()]()
        try:
            plain += frame.decompress(body, limit_bytes - len(plain) + 1)
        except (RuntimeError, zlib.error, zstd.ZstdError, EOFError) as error:
            raise ClickHouseFailure(354, f"The body is not valid {encoding} (CANNOT_DECOMPRESS)") from error
        if len(plain) > limit_bytes:
            raise ClickHouseFailure(307, f"The body exceeds {limit_bytes} bytes: send fewer rows (TOO_MANY_BYTES)")
        if not frame.eof:
            raise ClickHouseFailure(354, f"The {encoding} body ends too early (CANNOT_DECOMPRESS)")
        body = frame.unused_data or b""
    return bytes(plain)
