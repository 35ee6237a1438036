"""When two requests may share one answer: equal fingerprints, and only then."""

import hashlib
import json
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, Final, NamedTuple

from schemas.canonical import CANONICAL_VERSION
from schemas.identity import Fingerprint
from schemas.request import PromptRequest
from schemas.templates import TEMPLATES, Template

FINGERPRINT_VERSION: Final = 2
"""Raised when the meaning of the fingerprint changes, so that no old answer is found under a new meaning."""

_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


class Identified(NamedTuple):
    """What a request asks, with and without the values that tell one device of a fleet from another.

    `own` is equal to `fingerprint` where nothing is left out. `left_out` holds the values, in the order of their
    variables' names: as many, and of the same variables, for all requests of one fingerprint.
    """

    fingerprint: Fingerprint
    own: Fingerprint
    left_out: tuple[str, ...]


def identify(request: PromptRequest, model: str) -> Identified:
    """Both fingerprints; `model` is the one that will be asked."""
    template = None if request.template is None else TEMPLATES.get(request.template)
    if template is None:
        own = _digest(request, model, _question(request))
        return Identified(own, own, ())
    variables = template.canonical_variables(request.variables)
    own = _of_the_device(request, model, template, variables)
    left_out = template.exchangeable(request.variables)
    if not left_out:
        return Identified(own, own, ())
    return Identified(_of_the_fleet(request, model, template, variables, left_out), own, tuple(left_out.values()))


def fingerprint_of(request: PromptRequest, model: str) -> Fingerprint:
    """SHA-256 over everything that decides the answer, tenant included; `model` is the one that will be asked.

    Who asked, labels, deadline and cache policy are left out: they do not change the answer. So is the name of a
    device, where an answer for one can be turned into the answer for another.
    """
    return identify(request, model).fingerprint


def partition_key(request: PromptRequest) -> bytes:
    """Kafka key of a request: requests that may share an answer meet on one partition, hence in one worker."""
    model = request.model or ""
    template = None if request.template is None else TEMPLATES.get(request.template)
    if template is None:
        return _digest(request, model, _question(request)).encode()
    # The fingerprint alone: whoever publishes has no use for `own`, which costs as much again.
    variables = template.canonical_variables(request.variables)
    if left_out := template.exchangeable(request.variables):
        return _of_the_fleet(request, model, template, variables, left_out).encode()
    return _of_the_device(request, model, template, variables).encode()


def _of_the_device(request: PromptRequest, model: str, template: Template, variables: dict[str, str]) -> Fingerprint:
    rules = f",{CANONICAL_VERSION}" if template.canonical else ""
    return _digest(request, model, f"[{quoted(template.reference)},{_object(variables)}{rules}]")


def _of_the_fleet(
    request: PromptRequest, model: str, template: Template, variables: dict[str, str], left_out: dict[str, str]
) -> Fingerprint:
    rest = {name: value for name, value in variables.items() if name not in left_out}
    names = ",".join(map(quoted, left_out))
    question = f'[{quoted(template.reference)},{_object(rest)},{CANONICAL_VERSION},"without",[{names}]]'
    return _digest(request, model, question)


def _digest(request: PromptRequest, model: str, question: str) -> Fingerprint:
    """`question` is canonical JSON; what is hashed is the canonical JSON of all."""
    canonical = f"[{FINGERPRINT_VERSION},{quoted(request.tenant)},{quoted(model)},{request.max_tokens},{question}]"
    return Fingerprint(hashlib.sha256(canonical.encode()).hexdigest())


def _question(request: PromptRequest) -> str:
    """Written by hand: an encoder is built anew for each document, which took longer than all the rest."""
    if request.template is not None:
        return _CANONICAL.encode([request.template, request.variables])
    turns = ",".join(f"[{quoted(turn.role)},{_content(turn.content)}]" for turn in request.messages or ())
    return f"[{'null' if request.system is None else quoted(request.system)},[{turns}]]"


def _object(variables: dict[str, str]) -> str:
    return "{" + ",".join(f"{quoted(name)}:{quoted(variables[name])}" for name in sorted(variables)) + "}"


def _content(content: Any) -> str:
    return quoted(content) if isinstance(content, str) else _CANONICAL.encode(content)
