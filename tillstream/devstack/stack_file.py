"""`<home>/stack.toml`: the endpoints and generated secrets of the local services.

`tillstream.settings` reads it below the user's own file, so every command finds the services; it
survives `down`, so that the next `up` keeps endpoints and keys.
"""

import json
import os
import secrets
import tomllib
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from tillstream.devstack.ports import LOOPBACK
from tillstream.errors import ConfigError
from tillstream.settings import STACK_FILE, USER_FILE, KafkaSettings, Settings, WarehouseSettings


@dataclass(frozen=True, slots=True)
class StackFile:
    """What is remembered. A port of 0 is not chosen yet."""

    kafka_port: int
    warehouse_port: int
    user: str
    password: str
    customer_key: str

    @property
    def bootstrap(self) -> str:
        return f"{LOOPBACK}:{self.kafka_port}"

    def settings(self, base: Settings) -> Settings:
        """`base` with the endpoints of the local services; a customer key of the user's stays."""
        kafka = base.kafka.model_copy(update={"bootstrap": self.bootstrap})
        warehouse = base.warehouse.model_copy(
            update={
                "host": LOOPBACK,
                "port": self.warehouse_port,
                "user": self.user,
                "password": SecretStr(self.password),
            }
        )
        key = base.customer_key.get_secret_value() or self.customer_key
        return base.model_copy(
            update={"kafka": kafka, "warehouse": warehouse, "customer_key": SecretStr(key)}
        )


def read(home: Path) -> StackFile | None:
    """The remembered stack, or None before the first `up`. Raises ConfigError when damaged."""
    path = home / STACK_FILE
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        return StackFile(
            kafka_port=int(data["kafka"]["bootstrap"].rpartition(":")[2]),
            warehouse_port=int(data["warehouse"]["port"]),
            user=data["warehouse"]["user"],
            password=data["warehouse"]["password"],
            customer_key=data["customer_key"],
        )
    except FileNotFoundError:
        return None
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as exc:
        raise ConfigError(
            f"{path} is damaged: {exc!r}",
            hint="correct it, or remove it: customer ids are then pseudonymised with a new key",
        ) from exc


def write(home: Path, stack: StackFile) -> None:
    """Replace the file at once, readable by its owner only."""
    quoted = json.dumps  # of ASCII text, a JSON string is a TOML string
    text = f"""\
# Written by `tillstream up`. Your own settings belong in {USER_FILE}, which wins.
customer_key = {quoted(stack.customer_key)}

[kafka]
bootstrap = {quoted(stack.bootstrap)}

[warehouse]
host = {quoted(LOOPBACK)}
port = {stack.warehouse_port}
user = {quoted(stack.user)}
password = {quoted(stack.password)}
"""
    write_private(home / STACK_FILE, text)


def write_private(path: Path, text: str) -> None:
    """Replace a file at once with one of mode 0600."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    part.replace(path)


def recall(settings: Settings) -> StackFile:
    """The remembered stack with what is missing generated; ports not chosen yet are 0."""
    known = read(settings.home)
    password = settings.warehouse.password.get_secret_value()
    return StackFile(
        kafka_port=known.kafka_port if known else 0,
        warehouse_port=known.warehouse_port if known else 0,
        user=settings.warehouse.user,
        password=password or (known.password if known else secrets.token_urlsafe(24)),
        customer_key=known.customer_key if known else secrets.token_hex(32),
    )


def require_local(settings: Settings) -> None:
    """Raises ConfigError when the user pointed a setting at services of their own: `up` would start
    some that no command then uses."""
    known = read(settings.home)
    kafka = {KafkaSettings().bootstrap, known.bootstrap if known else ""}
    default = WarehouseSettings()
    warehouse = {(default.host, default.port), (LOOPBACK, known.warehouse_port if known else 0)}
    wrong = []
    if settings.kafka.bootstrap not in kafka:
        wrong.append(f"TILLSTREAM_KAFKA__BOOTSTRAP is {settings.kafka.bootstrap}")
    if (settings.warehouse.host, settings.warehouse.port) not in warehouse:
        endpoint = f"{settings.warehouse.host}:{settings.warehouse.port}"
        wrong.append(f"TILLSTREAM_WAREHOUSE__HOST and __PORT are {endpoint}")
    if wrong:
        raise ConfigError(
            f"up starts local services, but {' and '.join(wrong)}",
            hint=f"remove them from the environment and {settings.home / USER_FILE}; to choose the "
            "local ports, set TILLSTREAM_KAFKA__EMBEDDED_PORT, TILLSTREAM_WAREHOUSE__EMBEDDED_PORT",
        )
