"""Everything that can be set, read from the environment in this one place.

Order: arguments, then `HEADRACE_*` (and the SDK's `ANTHROPIC_*`), then a running local stack's `endpoints.json`.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, IPvAnyNetwork, SecretStr, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from producers.gateway.callers import KeyQuotas
from producers.kafka_connection import KafkaConnection, SaslMechanism, SecurityProtocol
from schemas.framing import Framing
from schemas.identity import TENANT_PATTERN
from streams.endpoint_settings import ModelEndpoints

MEBIBYTE = 1024 * 1024

StandInModels = Annotated[tuple[str, ...], Field(max_length=5)]


class Settings(BaseSettings):
    """One process's settings. Secrets are masked in every repr."""

    # An error that repeats what was set would show a secret that is too short.
    model_config = SettingsConfigDict(
        env_prefix="HEADRACE_", extra="ignore", frozen=True, populate_by_name=True, hide_input_in_errors=True
    )

    home: Path = Path(".headrace")
    """State of the local stack; `endpoints.json` in it fills what is not set."""
    environment: Literal["local", "production"] = "local"

    kafka: str = "127.0.0.1:9092"
    kafka_security_protocol: SecurityProtocol = "PLAINTEXT"
    kafka_sasl_mechanism: SaslMechanism = "SCRAM-SHA-512"
    kafka_username: str | None = None
    kafka_password: SecretStr | None = None
    kafka_ca_file: Path | None = None
    """PEM; the system's own authorities where it is not set."""
    kafka_certificate_file: Path | None = None
    kafka_key_file: Path | None = None
    kafka_user_passwords: dict[str, SecretStr] = {}
    """What `headrace topics acl apply` sets, by user: JSON."""
    kafka_replication: Annotated[int, Field(ge=1, le=9)] = 1
    schema_registry_url: SecretStr | None = None
    """Confluent's API; `user:password@` in it where the registry asks."""
    schema_registry_framing: Framing = "none"
    """How what we publish names its schema; both ways are read, whatever this says."""
    redis: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    postgres: SecretStr = SecretStr("postgresql://headrace@127.0.0.1:5432/headrace")
    clickhouse: SecretStr = SecretStr("http://headrace@127.0.0.1:8123")

    model_url: Annotated[str | None, Field(validation_alias="ANTHROPIC_BASE_URL")] = None
    """Base URL of a Messages API; none is Anthropic's own."""
    model_key: Annotated[SecretStr | None, Field(validation_alias="ANTHROPIC_API_KEY")] = None
    model_endpoints: ModelEndpoints = ()
    """Several keys or addresses to balance calls over, instead of the two above."""
    default_model: str = "claude-haiku-5-5"
    prompt_cache: bool = True
    """Whether the provider is asked to keep, for five minutes, the part that all prompts of a long template share."""
    fallback_models: dict[str, StandInModels] = {}
    """By model, those that answer in its place, the best first, while it is refused or its breaker is open."""
    tenant_fallback_models: dict[str, dict[str, StandInModels]] = {}
    """The same by tenant, instead of the rule for all; `{}` for a tenant that wants no other model."""

    max_in_flight: Annotated[int, Field(ge=1, le=100_000)] = 2000
    """Records one worker holds unfinished at most."""
    max_in_flight_bytes: Annotated[int, Field(ge=MEBIBYTE)] = 128 * MEBIBYTE
    batch_records: Annotated[int, Field(ge=1, le=2048)] = 256
    """Records answered from the cache in one round trip at most."""
    commit_interval_seconds: Annotated[float, Field(gt=0, le=60)] = 0.5
    drain_seconds: Annotated[float, Field(ge=0, le=600)] = 20
    """How long SIGTERM and a rebalance wait for work in flight; the rest is redelivered."""
    session_timeout_seconds: Annotated[float, Field(ge=6, le=300)] = 45
    worker_name: str | None = None
    """Static membership id, unique per worker; a restart under the same name causes no rebalance."""

    ledger_lease_seconds: Annotated[float, Field(ge=2, le=300)] = 12
    """How long a claim outlives its worker's last heartbeat: what failover waits for, what a pause must not exceed."""
    retry_ambiguous: bool = True
    """Whether a call whose answer nobody saw is repeated, once; if not, its request ends as `outcome_unknown`."""
    longest_pause_seconds: Annotated[float, Field(gt=0, le=3600)] = 60
    """No `retry-after` holds calls back longer than this; then one call finds out."""
    refused_pause_seconds: Annotated[float, Field(gt=0, le=3600)] = 30
    """How long a refused key, account or spend cap holds calls back; then one finds out. Sooner: `headrace resume`."""
    limits_tier: Literal["start", "build", "scale"] | None = None
    """Rate limits before the API has told its own; see `streams/limits/presets.json`."""
    limit_requests_per_minute: Annotated[float, Field(gt=0)] | None = None
    """Of each model family and for all workers together, as the two below: held although the API allows more."""
    limit_input_tokens_per_minute: Annotated[float, Field(gt=0)] | None = None
    limit_output_tokens_per_minute: Annotated[float, Field(gt=0)] | None = None
    limit_burst_seconds: Annotated[float, Field(gt=0, le=60)] = 1.0
    """How much of a rate that was not used may be used later."""
    tenant_weights: dict[str, Annotated[float, Field(gt=0)]] = {}
    """Shares of a limit that not all can use: a tenant of weight 2 gets twice the tokens of one that is not named."""
    condemned_after_deaths: Annotated[int, Field(ge=1, le=100)] = 3
    """A record that workers died at so often becomes a dead letter."""
    stall_seconds: Annotated[float, Field(ge=5, le=3600)] = 30
    """A worker with lag and room that takes no record for so long ends itself, to be started anew."""
    failpoints: dict[str, int | str] = {}
    """Faults for tests: place and passage, or label, at which the process kills itself. Refused in production."""

    soft_deadline_seconds: Annotated[float, Field(gt=0, le=3600)] = 240
    hard_deadline_seconds: Annotated[float, Field(gt=0, le=3600)] = 300
    retry_delays_seconds: Annotated[tuple[Annotated[float, Field(gt=0, le=6 * 60 * 60)], ...], Field(max_length=10)] = (
        60,
        120,
        240,
    )
    """How long a request whose failure may pass waits before each further attempt; none: it fails at once."""

    local_cache_bytes: Annotated[int, Field(ge=0)] = 64 * MEBIBYTE
    local_cache_seconds: Annotated[float, Field(ge=0)] = 60
    stable_ttl_seconds: Annotated[int, Field(ge=1)] = 24 * 60 * 60
    volatile_ttl_seconds: Annotated[int, Field(ge=1)] = 300

    sink_batch_rows: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000
    sink_batch_seconds: Annotated[float, Field(gt=0, le=60)] = 1.0
    sink_store_text: bool = False
    """Whether ClickHouse also gets the answers' text."""

    key_pepper: SecretStr | None = None
    """What the digests of API keys are made with, at least 16 bytes; the same for all gateways and operators."""
    key_fresh_seconds: Annotated[float, Field(ge=0, le=60)] = 3.0
    """How long a gateway believes what it knows of an API key: a revocation is known everywhere after so long."""
    key_grace_seconds: Annotated[float, Field(ge=0, le=86_400)] = 300.0
    """How long a gateway honours keys that it knows while Postgres is away."""
    quota_key: KeyQuotas = KeyQuotas()
    """Of a key that states none of its own; what is not named keeps its default, see `streams/quotas/rules.py`."""
    quota_tenant: KeyQuotas = KeyQuotas()
    """Of all keys of a tenant together."""
    quota_user: KeyQuotas = KeyQuotas()
    """Of each `user_id` within a tenant."""
    quota_address: KeyQuotas = KeyQuotas()
    """Of each client address, or /64 of IPv6."""

    gateway_hosts: frozenset[str] = frozenset()
    """Names that a caller's `Host` may give; none: any well-formed one."""
    gateway_trusted_proxies: tuple[IPvAnyNetwork, ...] = ()
    """Networks of proxies whose `X-Forwarded-For` is believed; none: the peer is the caller."""

    confirm_above_usd: Annotated[float, Field(ge=0)] = 5.0
    """A bulk run that is expected to cost more asks first, where somebody sits at a terminal."""

    postgres_replica: SecretStr | None = None
    """Where the gateway reads requests from; none is `postgres` itself."""
    gateway_host: str = "127.0.0.1"
    gateway_port: Annotated[int, Field(ge=1, le=65_535)] = 8080
    gateway_secret: Annotated[SecretStr | None, Field(min_length=16)] = None
    """Signs request ids; the same for all copies of the gateway. Without one, locally, each makes its own."""
    gateway_key: Annotated[SecretStr | None, Field(min_length=16, max_length=256)] = None
    """One API key of the tenant `local`, for the local stack. Refused in production."""
    gateway_anonymous_tenant: Annotated[str | None, Field(pattern=TENANT_PATTERN)] = None
    """Who calls the old `/api` routes without a key; none: nobody may."""
    gateway_waiting_limit: Annotated[int, Field(ge=1)] = 10_000
    """Requests of one lane that may wait; with more the gateway answers 503 and when to come again."""
    gateway_tenant_share: Annotated[float, Field(gt=0, le=1)] = 0.8
    """The part of that limit which one tenant may fill; beyond it 429."""
    gateway_confirm_seconds: Annotated[float, Field(ge=1, le=60)] = 5.0
    """How long the broker may take to confirm a request; then the caller is told that its outcome is unknown."""

    metrics_port: Annotated[int, Field(ge=0, le=65_535)] = 0
    """Where `/metrics` and `/healthz` answer; 0 takes a free port."""
    metrics_host: str = "127.0.0.1"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "text"] = "auto"

    @model_validator(mode="after")
    def _no_faults_in_production(self) -> Self:
        if self.failpoints and self.environment == "production":
            raise ValueError("HEADRACE_FAILPOINTS is for tests; unset it, or set HEADRACE_ENVIRONMENT=local")
        return self

    @model_validator(mode="after")
    def _no_local_key_in_production(self) -> Self:
        if self.gateway_key is not None and self.environment == "production":
            raise ValueError("HEADRACE_GATEWAY_KEY is for the local stack; make keys by: headrace keys create")
        return self

    @model_validator(mode="after")
    def _complete_connection(self) -> Self:
        _ = self.kafka_connection  # raises what is missing
        return self

    @model_validator(mode="after")
    def _registry_for_framing(self) -> Self:
        if self.schema_registry_framing != "none" and self.schema_registry_url is None:
            raise ValueError("HEADRACE_SCHEMA_REGISTRY_FRAMING needs HEADRACE_SCHEMA_REGISTRY_URL")
        return self

    @property
    def kafka_connection(self) -> KafkaConnection:
        """Where Kafka is and as whom we come: what every client is built with."""
        password = self.kafka_password.get_secret_value() if self.kafka_password else None
        return KafkaConnection(
            self.kafka,
            self.kafka_security_protocol,
            self.kafka_sasl_mechanism,
            self.kafka_username,
            password,
            self.kafka_ca_file,
            self.kafka_certificate_file,
            self.kafka_key_file,
        )

    @property
    def rehearsed(self) -> bool:
        """Whether answers come from a server that is not Anthropic's."""
        if self.model_endpoints:
            return all(endpoint.base_url is not None for endpoint in self.model_endpoints)
        return self.model_url is not None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del dotenv_settings
        return init_settings, env_settings, file_secret_settings, LocalStackSource(settings_cls, env_settings)


class LocalStackSource(PydanticBaseSettingsSource):
    """What a running local stack says of its addresses; nothing where none runs here."""

    def __init__(self, settings_cls: type[BaseSettings], environment: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        self._environment = environment

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        del field
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        set_already = self._environment()
        home = Path(set_already.get("home", Settings.model_fields["home"].default))
        try:
            endpoints = json.loads((home / "endpoints.json").read_text())
        except (OSError, ValueError):
            return {}
        found = {name: endpoints[name] for name in ("kafka", "redis", "postgres", "clickhouse") if endpoints.get(name)}
        if pepper := _local_pepper(home):
            found["key_pepper"] = pepper
        wants_real_model = "ANTHROPIC_API_KEY" in set_already or "ANTHROPIC_BASE_URL" in set_already
        if endpoints.get("model") and not wants_real_model:
            found |= {"ANTHROPIC_BASE_URL": endpoints["model"], "ANTHROPIC_API_KEY": "rehearsal"}
        return found


def _local_pepper(home: Path) -> str | None:
    try:
        pepper = json.loads((home / "secrets.json").read_text()).get("key_pepper")
    except (OSError, ValueError):
        return None
    return pepper if isinstance(pepper, str) else None
