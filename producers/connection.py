"""How every Kafka client here connects, and how its errors are told."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kafka.errors import KafkaError

from tillstream.errors import ServiceError
from tillstream.settings import KafkaSettings

CONNECT_TIMEOUT_MS = 10_000
_PROBE_TIMEOUT_S = 5.0

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
    if kafka.security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = kafka.sasl_mechanism or "PLAIN"
        options["sasl_plain_username"] = kafka.username
        options["sasl_plain_password"] = (
            kafka.password.get_secret_value() if kafka.password else None
        )
    return options


@contextmanager
def told_as_service_error(kafka: KafkaSettings, doing: str) -> Iterator[None]:
    """Turn what kafka-python raises into a ServiceError that says where and what for."""
    try:
        yield
    except (KafkaError, OSError) as exc:
        raise unreachable(kafka, doing, exc) from exc


def unreachable(kafka: KafkaSettings, doing: str, exc: BaseException | str) -> ServiceError:
    reason = str(exc) or type(exc).__name__
    return ServiceError(f"Kafka at {kafka.bootstrap}: cannot {doing}: {reason}", hint=_HINT)


def require_reachable(kafka: KafkaSettings, doing: str) -> None:
    """Raise ServiceError at once when no bootstrap address accepts a connection.

    Asked before a client is built, since kafka-python waits for its whole bootstrap timeout on a
    refused connection and leaves the client's I/O thread running when it gives up.
    """
    problem: BaseException | str = "no bootstrap address is set"
    for address in kafka.bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), _PROBE_TIMEOUT_S):
                return
        except ValueError:
            problem = f"{address.strip()!r} is not host:port"
        except OSError as exc:
            problem = exc
    raise unreachable(kafka, doing, problem)
