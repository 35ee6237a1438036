"""Where Kafka is and as whom we come: one value for every client, and what a refusal of it means."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


class IncompleteConnectionError(ValueError):
    """The protocol needs something that is not given; the message says what."""


@dataclass(frozen=True, slots=True)
class KafkaConnection:
    """Bootstrap servers and what they ask for. Raises IncompleteConnectionError; the password is in no repr."""

    servers: str
    """`host:port`, several with commas."""
    protocol: SecurityProtocol = "PLAINTEXT"
    mechanism: SaslMechanism = "SCRAM-SHA-512"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    """PEM; the system's own authorities where absent."""
    certificate_file: Path | None = None
    key_file: Path | None = None

    def __post_init__(self) -> None:
        if self.with_password and not (self.username and self.password):
            raise IncompleteConnectionError(
                f"{self.protocol} needs a user: set HEADRACE_KAFKA_USERNAME and HEADRACE_KAFKA_PASSWORD"
            )
        if self.username and not self.with_password:
            raise IncompleteConnectionError(
                f"a user is given but {self.protocol} would not send it: set HEADRACE_KAFKA_SECURITY_PROTOCOL=SASL_SSL"
            )
        if (self.certificate_file is None) != (self.key_file is None):
            raise IncompleteConnectionError(
                "a client certificate has a key: set HEADRACE_KAFKA_CERTIFICATE_FILE and HEADRACE_KAFKA_KEY_FILE"
            )

    def __str__(self) -> str:
        return self.servers

    @property
    def with_password(self) -> bool:
        return self.protocol.startswith("SASL_")

    @property
    def with_tls(self) -> bool:
        return self.protocol.endswith("SSL")


KafkaAddress = str | KafkaConnection
"""A bare `host:port` is a broker that asks for nothing."""


def connection_to(kafka: KafkaAddress) -> KafkaConnection:
    return KafkaConnection(kafka) if isinstance(kafka, str) else kafka


def client_options(kafka: KafkaAddress) -> dict[str, Any]:
    """The part of a librdkafka configuration that says where and as whom."""
    connection = connection_to(kafka)
    options: dict[str, Any] = {"bootstrap.servers": connection.servers}
    if connection.protocol != "PLAINTEXT":
        options["security.protocol"] = connection.protocol
    if connection.with_password:
        options |= {
            "sasl.mechanism": connection.mechanism,
            "sasl.username": connection.username,
            "sasl.password": connection.password,
        }
    return options | (_tls_options(connection) if connection.with_tls else {})


def _tls_options(connection: KafkaConnection) -> dict[str, str]:
    files = {
        "ssl.ca.location": connection.ca_file,
        "ssl.certificate.location": connection.certificate_file,
        "ssl.key.location": connection.key_file,
    }
    return {name: str(path) for name, path in files.items() if path is not None}


_USER: Final = (
    "Kafka does not take this user or password: check HEADRACE_KAFKA_USERNAME, HEADRACE_KAFKA_PASSWORD and "
    "HEADRACE_KAFKA_SASL_MECHANISM; `headrace topics acl apply --passwords FILE` makes users"
)
_TLS: Final = (
    "the TLS handshake failed: check HEADRACE_KAFKA_CA_FILE, the name in the broker's certificate, and that "
    "HEADRACE_KAFKA_SECURITY_PROTOCOL is the listener's"
)
_RIGHTS: Final = "this user may not do that: see `headrace topics acl diff`, then `headrace topics acl apply`"
_NO_AUTHORIZER: Final = "this cluster keeps no rights: set authorizer.class.name on its brokers and controllers"
_NEXT_STEPS: Final = {
    "SECURITY_DISABLED": _NO_AUTHORIZER,
    "_AUTHENTICATION": _USER,
    "SASL_AUTHENTICATION_FAILED": _USER,
    "_SSL": _TLS,
    "TOPIC_AUTHORIZATION_FAILED": _RIGHTS,
    "GROUP_AUTHORIZATION_FAILED": _RIGHTS,
    "CLUSTER_AUTHORIZATION_FAILED": _RIGHTS,
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED": _RIGHTS,
}


def next_step_after(error_name: str) -> str | None:
    """What to do about an error of this name (`KafkaError.name()`); None where it is not about who we are."""
    return _NEXT_STEPS.get(error_name)
