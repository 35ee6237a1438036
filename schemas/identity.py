"""Types for identity, so that a bare ``str`` in a signature is only ever text."""

from typing import Annotated, NewType

from pydantic import StringConstraints

Fingerprint = NewType("Fingerprint", str)
"""64 hexadecimal digits: the same for two requests that may share one answer."""

TENANT_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

TenantId = Annotated[str, StringConstraints(pattern=TENANT_PATTERN)]
"""One customer; part of every key. 1 to 64 of letters, digits, dot, dash, underscore."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=128)]
"""A department, user, application or model: 1 to 128 characters."""
