"""Making a cluster's rights match `schemas.acls`: what is missing, what is beyond it, and users' passwords."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its __init__ re-exports without saying so
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)

from ops.topics import answered
from producers.kafka_connection import KafkaAddress
from schemas.acls import ROLES, RoleName

_ANSWER_SECONDS: Final = 10.0
_SCRAM_ITERATIONS: Final = 8192
_RESOURCES: Final = {"topic": ResourceType.TOPIC, "group": ResourceType.GROUP, "cluster": ResourceType.BROKER}

Users = Mapping[RoleName, Collection[str]]
"""Which users have a role; one that is not named has its usual user."""


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One operation of one user on one resource, as the cluster keeps it."""

    user: str
    resource: str
    name: str
    operation: str
    prefixed: bool = False
    host: str = "*"
    permission: str = "allow"


@dataclass(frozen=True, slots=True)
class AclDifference:
    """What our users may not do and should, and what they have been told beyond it."""

    missing: list[Right] = field(default_factory=list)
    surplus: list[Right] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class AppliedAcls:
    """What was changed, and what is still there beyond the declaration."""

    granted: list[Right] = field(default_factory=list)
    revoked: list[Right] = field(default_factory=list)
    remaining: list[Right] = field(default_factory=list)
    passwords_set: list[str] = field(default_factory=list)
    """Users, not passwords."""


def users_of_roles(named: Users | None = None) -> dict[RoleName, tuple[str, ...]]:
    """Every role's users."""
    given = named or {}
    return {role.name: tuple(given.get(role.name) or (role.usual_user,)) for role in ROLES}


def wanted_rights(users: Users) -> set[Right]:
    """What the declaration gives to these users."""
    return {
        Right(user, grant.resource, grant.name, operation, grant.prefixed)
        for role in ROLES
        for user in users.get(role.name, ())
        for grant in role.grants
        for operation in grant.operations
    }


def diff_acls(kafka: KafkaAddress, users: Users) -> AclDifference:
    """Every difference for these users; other users are not looked at. Raises ClusterUnreachableError."""
    return answered(kafka, lambda admin: _difference(admin, users))


def apply_acls(
    kafka: KafkaAddress, users: Users, passwords: Mapping[str, str] | None = None, *, prune: bool = False
) -> AppliedAcls:
    """Grant what is missing, with `prune` revoke what is beyond, and set `passwords` (by user, SCRAM-SHA-512).

    Safe to repeat. Raises ClusterUnreachableError.
    """
    return answered(kafka, lambda admin: _apply(admin, users, passwords or {}, prune=prune))


def _apply(admin: AdminClient, users: Users, passwords: Mapping[str, str], *, prune: bool) -> AppliedAcls:
    found = _difference(admin, users)
    _grant(admin, found.missing)
    revoked = found.surplus if prune else []
    _revoke(admin, revoked)
    _set_passwords(admin, passwords)
    return AppliedAcls(found.missing, revoked, [] if prune else found.surplus, sorted(passwords))


def _difference(admin: AdminClient, users: Users) -> AclDifference:
    wanted = wanted_rights(users)
    everyone = {user for named in users.values() for user in named}
    have = {right for user in everyone for right in _rights_of(admin, user)}
    return AclDifference(sorted(wanted - have), sorted(have - wanted))


def _rights_of(admin: AdminClient, user: str) -> Iterable[Right]:
    everything = AclBindingFilter(
        ResourceType.ANY,
        None,  # type: ignore[arg-type]  # any name; its annotation forgets what its documentation says
        ResourcePatternType.ANY,
        f"User:{user}",
        None,  # type: ignore[arg-type]  # from any host
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    return map(_right_of, admin.describe_acls(everything, request_timeout=_ANSWER_SECONDS).result(_ANSWER_SECONDS))


def _right_of(binding: Any) -> Right:
    resource = next(
        (name for name, kind in _RESOURCES.items() if kind == binding.restype), binding.restype.name.lower()
    )
    return Right(
        binding.principal.removeprefix("User:"),
        resource,
        binding.name,
        binding.operation.name.lower(),
        binding.resource_pattern_type == ResourcePatternType.PREFIXED,
        binding.host,
        binding.permission_type.name.lower(),
    )


def _shape(right: Right) -> tuple[Any, ...]:
    pattern = ResourcePatternType.PREFIXED if right.prefixed else ResourcePatternType.LITERAL
    return (
        _RESOURCES.get(right.resource) or ResourceType[right.resource.upper()],
        right.name,
        pattern,
        f"User:{right.user}",
        right.host,
        AclOperation[right.operation.upper()],
        AclPermissionType[right.permission.upper()],
    )


def _grant(admin: AdminClient, rights: Iterable[Right]) -> None:
    if bindings := [AclBinding(*_shape(right)) for right in rights]:
        _await(admin.create_acls(bindings, request_timeout=_ANSWER_SECONDS))


def _revoke(admin: AdminClient, rights: Iterable[Right]) -> None:
    if filters := [AclBindingFilter(*_shape(right)) for right in rights]:
        _await(admin.delete_acls(filters, request_timeout=_ANSWER_SECONDS))


def _set_passwords(admin: AdminClient, passwords: Mapping[str, str]) -> None:
    about = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, _SCRAM_ITERATIONS)
    wanted: list[UserScramCredentialAlteration] = [
        UserScramCredentialUpsertion(user, about, password.encode()) for user, password in passwords.items()
    ]
    if wanted:
        _await(admin.alter_user_scram_credentials(wanted, request_timeout=_ANSWER_SECONDS))


def _await(answers: Mapping[Any, Any]) -> None:
    for answer in answers.values():
        answer.result(_ANSWER_SECONDS)
