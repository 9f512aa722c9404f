"""Every setting, resolved once into frozen objects.

Priority, highest first: keyword arguments, `TILLSTREAM_` environment variables (nested with `__`,
as in `TILLSTREAM_KAFKA__BOOTSTRAP`), files of the same names in the folder TILLSTREAM_SECRETS_DIR,
`<home>/tillstream.toml` (yours), `<home>/stack.toml` (written by `tillstream up`: the endpoints of
the local services), the defaults below.
"""

import os
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from tillstream.errors import ConfigError

STACK_FILE = "stack.toml"
USER_FILE = "tillstream.toml"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KafkaSettings(_Frozen):
    """Where the brokers are. `embedded_port` 0 lets `tillstream up` choose a free one.

    A login that would not be used, or used without a password, is refused: it would look safe.
    """

    bootstrap: str = "127.0.0.1:9092"
    embedded_port: int = 0
    replication_factor: int = 1
    partition_factor: int = Field(
        default=1, ge=1, description="How many times the usual partitions source topics have"
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    username: str | None = None
    password: SecretStr | None = None
    ca_file: Path | None = None
    heap_mb: int = 512
    embedded_properties: dict[str, str] = {}

    @model_validator(mode="after")
    def _login_complete_and_used(self) -> Self:
        logs_in = self.security_protocol.startswith("SASL")
        if logs_in and not (self.username and self.password):
            raise ValueError(
                f"security_protocol {self.security_protocol} needs username and password"
            )
        if not logs_in and (self.username or self.password):
            raise ValueError(
                f"security_protocol {self.security_protocol} does not use username and password: "
                "set it to SASL_SSL"
            )
        return self


class WarehouseSettings(_Frozen):
    """The ClickHouse HTTP endpoint. `cluster` switches tables to Replicated/Distributed."""

    host: str = "127.0.0.1"
    port: int = 8123
    user: str = "tillstream"
    password: SecretStr = SecretStr("")
    database: str = "tillstream"
    secure: bool = False
    ca_file: Path | None = None
    cluster: str | None = None
    embedded_port: int = 0
    memory_mb: int = Field(default=2048, ge=256)


class LakeSettings(_Frozen):
    """`url` is a folder (`file:///…`, default `<home>/lake`) or `s3://bucket[/prefix]`."""

    url: str | None = None
    endpoint: str | None = None
    access_key: str | None = None
    secret_key: SecretStr | None = None
    ca_file: Path | None = None
    region: str = "us-east-1"
    retention_days: int | None = None
    models_kept: int = Field(
        default=12, ge=2, description="Versions of a model, beside those last in service"
    )


class RegistrySettings(_Frozen):
    """A Confluent-compatible schema registry; without one the catalogue here gives the ids."""

    url: str | None = None
    username: str | None = None
    password: SecretStr | None = None


class StreamSettings(_Frozen):
    """How the streaming jobs run. Durations carry their unit in the name."""

    master: str = "local[*]"
    trigger_ms: int = Field(default=0, ge=0, description="0 starts a batch as soon as one ends")
    lake_trigger_s: float = Field(default=30.0, gt=0)
    max_offsets_per_trigger: int = Field(default=200_000, gt=0)
    driver_memory: str = "2g"
    # Spark compiles a batch's whole plan into one method, longer than Java compiles by default: it
    # would be interpreted for ever.
    java_options: str = "-XX:+UseParallelGC -XX:-DontCompileHugeMethods"
    spark_conf: dict[str, str] = Field(
        default={}, description="More of Spark's own settings; they win over ours"
    )
    sink: Literal["driver", "executors"] = Field(
        default="driver", description="Who writes batches: one process, or each executor its part"
    )
    outputs: tuple[Literal["anomalies", "risk", "alerts", "counts", "lake"], ...] = Field(
        default=("anomalies", "risk", "alerts", "counts", "lake"),
        description="Besides facts and windows; fewer only to measure",
    )
    max_future_s: int = Field(default=300, ge=0)
    oldest_event: date = date(2000, 1, 1)
    bad_share_limit: float = Field(default=0.5, gt=0, le=1)
    bad_share_min_events: int = Field(default=10_000, gt=0)
    deduplicate: bool = Field(default=True, description="False only shows that verify notices")
    accept_loss: bool = Field(
        default=False, description="Go on although retention deleted records that were not read"
    )


class RiskSettings(_Frozen):
    """Defaults of the stock-out model, used where the data has nothing better."""

    lead_time_days: float = Field(default=2.0, gt=0)
    open_above: float = Field(default=0.60, gt=0, lt=1)
    resolve_below: float = Field(default=0.30, gt=0, lt=1)
    update_step: float = Field(default=0.15, gt=0, lt=1)
    evidence_days: int = Field(default=28, gt=0)
    prior_weight_days: float = Field(default=7.0, gt=0)
    default_daily_units: float = Field(default=0.05, gt=0)
    cooldown_hours: float = Field(
        default=6.0, ge=0, description="A risk that comes back within it is the same alert"
    )
    critical_margin: float = Field(
        default=20.0, gt=0, description="Expected lost margin from which an alert is critical"
    )
    high_margin: float = Field(default=5.0, gt=0)
    medium_margin: float = Field(default=1.0, gt=0)
    shelves_in_memory: int = Field(
        default=20_000_000,
        ge=0,
        description="With more shelves than that, 53 bytes each, the score asks the warehouse",
    )
    forecast_priors: bool = Field(
        default=False, description="Centre beliefs of demand on the night's forecast"
    )

    @model_validator(mode="after")
    def _thresholds_apart(self) -> Self:
        if self.resolve_below >= self.open_above:
            raise ValueError("resolve_below must be less than open_above, or alerts would flap")
        if not self.medium_margin < self.high_margin < self.critical_margin:
            raise ValueError("medium_margin, high_margin and critical_margin must rise")
        return self


class TelemetrySettings(_Frozen):
    """Metrics at `http://host:port/metrics` and traces. Port 0 takes a free one, which is told in
    `<home>/run/metrics/`; producers have no endpoint unless `producer_port` is set."""

    metrics: bool = True
    host: str = "127.0.0.1"
    stream_port: int = Field(default=0, ge=0)
    producer_port: int | None = Field(default=None, ge=0)
    otlp_endpoint: str | None = None
    lineage_url: str | None = Field(default=None, description="Of an OpenLineage server")
    lineage_api_key: SecretStr | None = None

    @model_validator(mode="after")
    def _lineage_key_stays_secret(self) -> Self:
        if self.lineage_api_key and not may_carry_secrets(self.lineage_url or ""):
            raise ValueError("lineage_api_key needs a lineage_url that begins with https://")
        return self


class LogSettings(_Frozen):
    """How the stream writes its log."""

    format: Literal["text", "json"] = "text"


def _given(value: str | SecretStr | None) -> bool:
    return bool(value.get_secret_value() if isinstance(value, SecretStr) else value)


def may_carry_secrets(address: str) -> bool:
    """By https, or on this machine."""
    parts = urlsplit(address)
    is_loopback = parts.hostname in ("127.0.0.1", "localhost", "::1")
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback)


def _check_address(name: str, address: str) -> None:
    parts = urlsplit(address)
    if not may_carry_secrets(address):
        raise ValueError(f"{name} must begin with https:// (http:// only on this machine)")
    if not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError(f"{name} must be an address without a user, a query or a fragment")


class OidcSettings(_Frozen):
    """Sign-in to the console by OpenID Connect; off without an issuer. `roles` and `stores` say
    what a group of the issuer's may do and see."""

    issuer: str | None = None
    client_id: str | None = None
    client_secret: SecretStr | None = None
    public_url: str | None = Field(
        default=None, description="What browsers call the console, such as https://console.example"
    )
    label: str = Field(default="Single sign-on", min_length=1, max_length=60)
    scopes: tuple[str, ...] = ("openid", "profile")
    name_claim: str = "preferred_username"
    groups_claim: str = "groups"
    stores_claim: str | None = None
    roles: dict[str, Literal["viewer", "store-manager", "on-call", "admin"]] = {}
    stores: dict[str, tuple[str, ...]] = {}
    ca_file: Path | None = None

    @property
    def is_on(self) -> bool:
        return self.issuer is not None

    @model_validator(mode="after")
    def _complete_and_safe(self) -> Self:
        needed = ("issuer", "client_id", "client_secret", "public_url")
        absent = [name for name in needed if not _given(getattr(self, name))]
        if len(absent) == len(needed):
            return self
        if absent:
            raise ValueError(f"sign-in by OpenID Connect needs {', '.join(absent)} too")
        for name in ("issuer", "public_url"):
            _check_address(name, getattr(self, name))
        if urlsplit(self.public_url or "").path not in ("", "/"):
            raise ValueError("public_url must have no path: the console is served at the root")
        if "openid" not in self.scopes:
            raise ValueError("scopes must contain openid")
        if not self.roles:
            raise ValueError("roles must give at least one group a role, or nobody could come in")
        return self


class WebSettings(_Frozen):
    """The console."""

    oidc: OidcSettings = OidcSettings()


class _TomlFile(PydanticBaseSettingsSource):
    """One TOML file as a settings source; a missing file is an empty one."""

    def __init__(self, settings_cls: type[BaseSettings], path: Path) -> None:
        super().__init__(settings_cls)
        self._path = path

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        raise NotImplementedError  # pydantic asks __call__ for the whole file at once

    def __call__(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except tomllib.TOMLDecodeError as exc:
            raise ConfigError(f"{self._path} is not valid TOML: {exc}") from exc


def default_home() -> Path:
    return Path(os.environ.get("TILLSTREAM_HOME", "~/.tillstream")).expanduser().absolute()


def _default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "tillstream"


class Settings(BaseSettings):
    """Everything the program can be told. Build it with `load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix="TILLSTREAM_", env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    home: Path = Field(default_factory=default_home)
    cache: Path = Field(default_factory=_default_cache)
    maven_url: str = "https://repo.maven.apache.org/maven2"
    secrets_dir: Path | None = None
    customer_key: SecretStr = SecretStr("")
    kafka: KafkaSettings = KafkaSettings()
    warehouse: WarehouseSettings = WarehouseSettings()
    lake: LakeSettings = LakeSettings()
    registry: RegistrySettings = RegistrySettings()
    stream: StreamSettings = StreamSettings()
    risk: RiskSettings = RiskSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    log: LogSettings = LogSettings()
    web: WebSettings = WebSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        home = Path(init_settings().get("home") or default_home())
        files = tuple(_TomlFile(settings_cls, home / name) for name in (USER_FILE, STACK_FILE))
        folder = init_settings().get("secrets_dir") or os.environ.get("TILLSTREAM_SECRETS_DIR")
        secrets = NestedSecretsSettingsSource(
            file_secret_settings, secrets_dir=folder, secrets_dir_missing="error"
        )
        return (init_settings, env_settings, secrets, *files)

    @property
    def lake_url(self) -> str:
        return self.lake.url or (self.home / "lake").as_uri()


def load_settings(**overrides: Any) -> Settings:
    """Resolve all settings. Raises ConfigError naming each wrong setting and why."""
    try:
        return Settings(**overrides)
    except SettingsError as exc:
        raise ConfigError(f"settings cannot be read: {exc}") from exc
    except ValidationError as exc:
        raise ConfigError("; ".join(_told(error) for error in exc.errors())) from exc


def _told(error: Mapping[str, Any]) -> str:
    """One wrong setting, with its value unless it is or may hold a secret."""
    names = [str(part) for part in error["loc"]]
    got = f" (got {error.get('input')!r})" if _may_be_shown(Settings, names) else ""
    said = error["msg"].removeprefix("Value error, ")
    return f"TILLSTREAM_{'__'.join(names).upper()}: {said}{got}"


def _may_be_shown(model: type[BaseModel], names: Sequence[str]) -> bool:
    """Whether `names` lead to a plain value. A misspelt name may be a password's; a section holds
    one."""
    field = model.model_fields.get(names[0]) if names else None
    if field is None:
        return False
    inner: Any = field.annotation
    if isinstance(inner, type) and issubclass(inner, BaseModel):
        return _may_be_shown(inner, names[1:])
    return "Secret" not in str(inner) and not names[0].endswith("key")
