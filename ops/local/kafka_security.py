"""A local broker that asks who comes: users by SCRAM, an operator who may do everything, TLS if wanted.

For tests and for trying out `headrace topics acl`; the stack that `headrace up` starts serves one user of one machine.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from producers.kafka_connection import KafkaConnection

_CONFIGURATION = """
# Who may do what: nobody anything that no rule allows, but for the operator.
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users=User:{name}

# Clients are users of the cluster's own metadata. The operator is there before any, so it stands in this file.
listener.name.clients.sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN
listener.name.clients.plain.sasl.jaas.config={plain}
listener.name.clients.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.controller.sasl.enabled.mechanisms=PLAIN
listener.name.controller.plain.sasl.jaas.config={plain}
sasl.mechanism.controller.protocol=PLAIN
"""
_TLS = """
ssl.keystore.type=PEM
ssl.keystore.location={certificate}
ssl.truststore.type=PEM
ssl.truststore.location={ca}
"""


@dataclass(frozen=True, slots=True)
class KafkaTls:
    """`certificate_file` holds the broker's key (PKCS 8, not encrypted) and its certificate, both PEM."""

    ca_file: Path
    certificate_file: Path


@dataclass(frozen=True, slots=True)
class KafkaSecurity:
    """The operator's name and password (letters and digits), and TLS if wanted."""

    name: str
    password: str = field(repr=False)
    tls: KafkaTls | None = None

    @property
    def protocol(self) -> Literal["SASL_SSL", "SASL_PLAINTEXT"]:
        return "SASL_SSL" if self.tls else "SASL_PLAINTEXT"

    def operator(self, servers: str) -> KafkaConnection:
        """The connection that may do everything."""
        ca_file = self.tls.ca_file if self.tls else None
        return KafkaConnection(servers, self.protocol, "PLAIN", self.name, self.password, ca_file)

    def configuration(self) -> str:
        """Lines of `server.properties`; they hold the password."""
        plain = (
            "org.apache.kafka.common.security.plain.PlainLoginModule required "
            f'username="{self.name}" password="{self.password}" user_{self.name}="{self.password}";'
        )
        lines = _CONFIGURATION.format(name=self.name, plain=plain)
        if self.tls is None:
            return lines
        return lines + _TLS.format(certificate=self.tls.certificate_file, ca=self.tls.ca_file)
