"""A private broker that asks who comes, with the declared roles as users of it, over TLS where openssl is there."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ops.acls import apply_acls, users_of_roles
from ops.local.kafka import kafka_server
from ops.local.kafka_security import KafkaSecurity, KafkaTls
from ops.topics import apply_topics
from producers.kafka_connection import KafkaConnection
from schemas.acls import ROLES, RoleName
from tests.pipeline import RunningServer

HAS_OPENSSL = shutil.which("openssl") is not None
_ROOT_PASSWORD = "0of0a0test0root0"


@dataclass(frozen=True, slots=True)
class SecuredKafka:
    """`root` may do everything; every role has its usual user, and a password of its own."""

    root: KafkaConnection
    other_ca: Path | None
    """Of an authority that did not sign the broker's certificate."""

    def connection(self, role: RoleName, password: str | None = None) -> KafkaConnection:
        user = users_of_roles()[role][0]
        return replace(self.root, mechanism="SCRAM-SHA-512", username=user, password=password or password_of(user))

    def environment(self, role: RoleName, password: str | None = None) -> dict[str, str]:
        """The settings of a process under the role's user."""
        connection = self.connection(role, password)
        found = {
            "HEADRACE_KAFKA": connection.servers,
            "HEADRACE_KAFKA_SECURITY_PROTOCOL": connection.protocol,
            "HEADRACE_KAFKA_SASL_MECHANISM": connection.mechanism,
            "HEADRACE_KAFKA_USERNAME": connection.username or "",
            "HEADRACE_KAFKA_PASSWORD": connection.password or "",
        }
        return found | ({"HEADRACE_KAFKA_CA_FILE": str(connection.ca_file)} if connection.ca_file else {})


def password_of(user: str) -> str:
    return f"password-of-{user}"


@contextlib.contextmanager
def secured_kafka(folder: Path, *, with_tls: bool = HAS_OPENSSL) -> Iterator[SecuredKafka]:
    """Running, its topics, users and rights as declared. Call it from the main thread."""
    folder.mkdir(parents=True, exist_ok=True)
    tls, other_ca = _certificates(folder) if with_tls else (None, None)
    security = KafkaSecurity("root", _ROOT_PASSWORD, tls)
    server = RunningServer(kafka_server(folder / "kafka", security=security), folder / "kafka.log")
    try:
        server.start()
        kafka = SecuredKafka(security.operator(server.endpoint), other_ca)
        passwords = {role.usual_user: password_of(role.usual_user) for role in ROLES}
        apply_acls(kafka.root, users_of_roles(), passwords)
        apply_topics(kafka.connection("operator"))
        yield kafka
    finally:
        server.stop()


def _certificates(folder: Path) -> tuple[KafkaTls, Path]:
    """A certificate for 127.0.0.1 by an authority of our own, and another authority."""
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for name in ("ca", "other"):
        _openssl(
            folder, "req", "-x509", *new_key, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}"
        )
    _openssl(folder, "req", *new_key, "-keyout", "broker.key", "-out", "broker.csr", "-subj", "/CN=broker")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    signed_by = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial")
    _openssl(folder, "x509", "-req", "-in", "broker.csr", *signed_by, "-extfile", "names", "-out", "broker.crt")
    both = folder / "broker.pem"
    both.write_text((folder / "broker.key").read_text() + (folder / "broker.crt").read_text())
    return KafkaTls(folder / "ca.pem", both), folder / "other.pem"


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=30)
