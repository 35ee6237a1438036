"""How the gateway is reached on this machine."""

from dataclasses import dataclass

from ops.local.ports import LOOPBACK

USUAL_PORT = 8080


@dataclass(frozen=True, slots=True)
class GatewayPlace:
    """Where it listens, and the key of this machine's own callers."""

    port: int
    key: str
    secret: str

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    @property
    def url(self) -> str:
        """What a standard client takes as it is: the key is the password."""
        return f"http://key:{self.key}@{self.address}"

    @property
    def readiness(self) -> str:
        return f"http://{self.address}/readyz"

    def environment(self) -> dict[str, str]:
        """Settings of the process."""
        return {
            "HEADRACE_GATEWAY_HOST": LOOPBACK,
            "HEADRACE_GATEWAY_PORT": str(self.port),
            "HEADRACE_GATEWAY_KEY": self.key,
            "HEADRACE_GATEWAY_SECRET": self.secret,
        }
