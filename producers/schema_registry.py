"""A Confluent schema registry, the two calls we need. (The client's own extra brings five more packages.)"""

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit, urlunsplit
from uuid import UUID

from schemas.documents import documents
from schemas.framing import Frame, Framing, SchemaId, framing_with
from schemas.topics import BULK_REQUESTS, CONTROL, REQUESTS, RESULTS

SCHEMA_OF_SUBJECT: Final[Mapping[str, str]] = {
    f"{REQUESTS}-value": "request.v1",
    f"{BULK_REQUESTS}-value": "request.v1",
    f"{RESULTS}-value": "result.v1",
    f"{CONTROL}-value": "cancel.v1",
}
"""By the usual naming, topic and `-value`. The retry topic and dead letters carry records as they came."""

_ANSWER_SECONDS: Final = 10.0
_LARGEST_ANSWER_BYTES: Final = 4 * 1024 * 1024
_UNKNOWN: Final = 404


class SchemaRegistryError(RuntimeError):
    """The registry did not answer, or refused; the message says what to do."""


@dataclass(frozen=True, slots=True)
class SchemaRegistry:
    """At `url`, which may carry `user:password@`. Raises SchemaRegistryError for an address that is not http(s)."""

    url: str = field(repr=False)

    def __post_init__(self) -> None:
        if urlsplit(self.url).scheme not in {"http", "https"} or not urlsplit(self.url).hostname:
            raise SchemaRegistryError("HEADRACE_SCHEMA_REGISTRY_URL must be an http:// or https:// address")

    def register(self, subject: str, schema: str) -> SchemaId:
        """The id of the schema, which is the subject's newest from now on. Safe to repeat."""
        found = self._asked(f"/subjects/{quote(subject, safe='')}/versions", schema)
        if found is None:
            raise SchemaRegistryError(f"the schema registry knows no way to register {subject}")
        return _id_in(found)

    def lookup(self, subject: str, schema: str) -> SchemaId | None:
        """The id of the schema where it is registered."""
        found = self._asked(f"/subjects/{quote(subject, safe='')}", schema)
        return None if found is None else _id_in(found)

    def _asked(self, path: str, schema: str) -> dict[str, Any] | None:
        try:
            with urllib.request.urlopen(self._request(path, schema), timeout=_ANSWER_SECONDS) as answer:  # noqa: S310 - http or https, see above
                return dict(json.loads(answer.read(_LARGEST_ANSWER_BYTES)))
        except urllib.error.HTTPError as refusal:
            with refusal:
                if refusal.code == _UNKNOWN:
                    return None
                raise SchemaRegistryError(
                    f"the schema registry answered {refusal.code} ({_reason_in(refusal)}); "
                    "see its log, its compatibility rule, and user and password in HEADRACE_SCHEMA_REGISTRY_URL"
                ) from None
        except (OSError, ValueError) as error:
            raise SchemaRegistryError(
                f"the schema registry does not answer ({type(error).__name__}): is HEADRACE_SCHEMA_REGISTRY_URL right?"
            ) from None

    def _request(self, path: str, schema: str) -> urllib.request.Request:
        parts = urlsplit(self.url)
        place = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/") + path, "", ""))
        headers = {"content-type": "application/vnd.schemaregistry.v1+json"}
        if parts.username:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers["authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        body = json.dumps({"schemaType": "JSON", "schema": schema}).encode()
        return urllib.request.Request(place, body, headers)  # noqa: S310 - http or https, see above


def committed_schema(subject: str) -> str:
    """The text that is registered under the subject."""
    return documents()[f"json/{SCHEMA_OF_SUBJECT[subject]}.json"]


def registered_framing(url: str | None, framing: Framing) -> Frame | None:
    """The Frame that `framing` asks for; None where it is off.

    Raises SchemaRegistryError where a schema is not registered: a publisher registers nothing itself. And NoGuidError.
    """
    if framing == "none":
        return None
    registry = SchemaRegistry(url or "")
    ids = {}
    for subject in SCHEMA_OF_SUBJECT:
        found = registry.lookup(subject, committed_schema(subject))
        if found is None:
            raise SchemaRegistryError(f"{subject} is not registered as it is here; run: headrace topics schemas apply")
        ids[subject.removesuffix("-value")] = found
    return framing_with(ids, framing)


def _id_in(answer: Mapping[str, Any]) -> SchemaId:
    try:
        return SchemaId(int(answer["id"]), UUID(answer["guid"]) if answer.get("guid") else None)
    except (KeyError, TypeError, ValueError):
        raise SchemaRegistryError("the schema registry answered without an id; is it one of Confluent's API?") from None


def _reason_in(refusal: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(refusal.read(_LARGEST_ANSWER_BYTES))["message"])[:300]
    except (OSError, ValueError, KeyError, TypeError):
        return refusal.reason
