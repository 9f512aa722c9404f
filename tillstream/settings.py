"""Every setting, resolved once into frozen objects.

Priority, highest first: keyword arguments, `TILLSTREAM_` environment variables (nested with `__`,
as in `TILLSTREAM_KAFKA__BOOTSTRAP`), `<home>/tillstream.toml` (yours), `<home>/stack.toml` (written
by `tillstream up`: the endpoints of the local services), the defaults below.
"""

import os
import tomllib
from datetime import date
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from tillstream.errors import ConfigError

STACK_FILE = "stack.toml"
USER_FILE = "tillstream.toml"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KafkaSettings(_Frozen):
    """Where the brokers are. `embedded_port` 0 lets `tillstream up` choose a free one."""

    bootstrap: str = "127.0.0.1:9092"
    embedded_port: int = 0
    replication_factor: int = 1
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: str | None = None
    username: str | None = None
    password: SecretStr | None = None
    ca_file: Path | None = None
    heap_mb: int = 512


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


class LakeSettings(_Frozen):
    """`url` is a folder (`file:///…`, default `<home>/lake`) or `s3://bucket[/prefix]`."""

    url: str | None = None
    endpoint: str | None = None
    access_key: str | None = None
    secret_key: SecretStr | None = None
    region: str = "us-east-1"
    retention_days: int | None = None


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
    max_offsets_per_trigger: int = Field(default=100_000, gt=0)
    driver_memory: str = "2g"
    # The quick compiler alone: on a few cores, the thorough one costs more than it gives back for
    # a long time (a recorded week: 14 instead of 20 CPU seconds).
    java_options: str = "-XX:TieredStopAtLevel=1 -XX:+UseParallelGC"
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

    @model_validator(mode="after")
    def _thresholds_apart(self) -> Self:
        if self.resolve_below >= self.open_above:
            raise ValueError("resolve_below must be less than open_above, or alerts would flap")
        return self


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
    customer_key: SecretStr = SecretStr("")
    kafka: KafkaSettings = KafkaSettings()
    warehouse: WarehouseSettings = WarehouseSettings()
    lake: LakeSettings = LakeSettings()
    registry: RegistrySettings = RegistrySettings()
    stream: StreamSettings = StreamSettings()
    risk: RiskSettings = RiskSettings()

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
        return (init_settings, env_settings, *files)

    @property
    def lake_url(self) -> str:
        return self.lake.url or (self.home / "lake").as_uri()


def load_settings(**overrides: Any) -> Settings:
    """Resolve all settings. Raises ConfigError naming each wrong setting and why."""
    try:
        return Settings(**overrides)
    except ValidationError as exc:
        lines = []
        for error in exc.errors():
            name = "TILLSTREAM_" + "__".join(str(part).upper() for part in error["loc"])
            secret = name.endswith(("PASSWORD", "KEY"))
            got = "" if secret else f" (got {error.get('input')!r})"
            lines.append(f"{name}: {error['msg']}{got}")
        raise ConfigError("; ".join(lines)) from exc
