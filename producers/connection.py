"""How every Kafka client here connects, and how its errors are told."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kafka.errors import AuthorizationError, KafkaError

from producers.probe import probe
from tillstream.endpoints import Unreachable
from tillstream.errors import ConfigError, ServiceError
from tillstream.settings import KafkaSettings

CONNECT_TIMEOUT_MS = 10_000

_HINT = "is the broker up? `tillstream status` shows it, `tillstream up` starts a local one"


def client_options(kafka: KafkaSettings) -> dict[str, Any]:
    """The options that kafka-python's producer, consumer and admin client share.

    The reconnect backoff stays short: kafka-python's own limit of 30 s would keep a client away
    long after a restarted broker is back.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": [address.strip() for address in kafka.bootstrap.split(",")],
        "security_protocol": kafka.security_protocol,
        "bootstrap_timeout_ms": CONNECT_TIMEOUT_MS,
        "reconnect_backoff_ms": 50,
        "reconnect_backoff_max_ms": 1_000,
    }
    if kafka.ca_file is not None:
        options["ssl_cafile"] = str(kafka.ca_file)
    if kafka.security_protocol.startswith("SASL") and kafka.password is not None:
        options["sasl_mechanism"] = kafka.sasl_mechanism
        options["sasl_plain_username"] = kafka.username
        options["sasl_plain_password"] = kafka.password.get_secret_value()
    return options


@contextmanager
def told_as_service_error(kafka: KafkaSettings, doing: str) -> Iterator[None]:
    """Turn what kafka-python raises into a ServiceError that says where and what for."""
    try:
        yield
    except (KafkaError, OSError) as exc:
        raise unreachable(kafka, doing, exc) from exc


def unreachable(kafka: KafkaSettings, doing: str, exc: BaseException | str) -> ServiceError:
    if isinstance(exc, AuthorizationError):
        return forbidden(kafka, doing, exc)
    reason = str(exc) or type(exc).__name__
    return ServiceError(f"Kafka at {kafka.bootstrap}: cannot {doing}: {reason}", hint=_HINT)


def forbidden(kafka: KafkaSettings, doing: str, exc: AuthorizationError) -> ServiceError:
    """What an access rule of the broker refused."""
    who = f"user {kafka.username!r}" if kafka.username else "a client without a user"
    named = exc.args[0] if exc.args else ""
    named = ", ".join(sorted(named)) if isinstance(named, (set, list)) else str(named)
    # Of some requests the client gives the whole of it instead of a name.
    where = f" ({named})" if named and " " not in named and named not in doing else ""
    return ServiceError(
        f"Kafka at {kafka.bootstrap}: {who} may not {doing}{where}: no access rule allows it",
        hint="log in as the service's own user (TILLSTREAM_KAFKA__USERNAME), or add the rule to "
        "deploy/kafka/acls.yaml and apply it with `tillstream provision --acls`",
    )


def require_reachable(kafka: KafkaSettings, doing: str) -> None:
    """Raise ServiceError at once when no bootstrap address lets us in: it says why, and which
    setting to correct. ConfigError when the CA file cannot be read.

    Asked before a client is built, since kafka-python tries again for its whole bootstrap timeout
    whatever the reason, does not tell it, and leaves the client's I/O thread running when it gives
    up.
    """
    try:
        probe(kafka)
    except Unreachable as exc:
        raise ServiceError(
            f"Kafka at {kafka.bootstrap}: cannot {doing}: {exc.what}", hint=exc.hint
        ) from exc
    except ConfigError as exc:
        raise ConfigError(f"Kafka at {kafka.bootstrap}: {exc}", hint=exc.hint) from exc
