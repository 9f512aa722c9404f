"""Ask a broker, before a client is built, whether the settings fit it.

A Kafka client answers a wrong password, certificate or listener alike: it tries again until it has
had enough. Here a few requests by hand, each over the same socket, tell them apart.
"""

import socket
import struct
from collections.abc import Iterator

from kafka.net.sasl import get_sasl_mechanism

from tillstream.endpoints import (
    TIMEOUT_S,
    Endpoint,
    Unreachable,
    connect,
    speaks_tls,
    unexpected_tls,
)
from tillstream.settings import KafkaSettings

_API_VERSIONS, _METADATA, _SASL_HANDSHAKE, _SASL_AUTHENTICATE = 18, 3, 17, 36
# Topic ids, which every coordinate here is made of, came with version 10 (Kafka 2.8).
_METADATA_WITH_TOPIC_IDS = 10
_UNSUPPORTED_MECHANISM, _ILLEGAL_STATE = 33, 34
_LONGEST_RESPONSE_BYTES = 1 << 20

_PROTOCOL = "TILLSTREAM_KAFKA__SECURITY_PROTOCOL"
_MECHANISM = "TILLSTREAM_KAFKA__SASL_MECHANISM"
_USER = "TILLSTREAM_KAFKA__USERNAME and TILLSTREAM_KAFKA__PASSWORD"


def probe(kafka: KafkaSettings) -> None:
    """Connect, and log in where a user is set, to the first bootstrap address that lets us.

    Raises Unreachable with what the last address answered; ConfigError for a CA file that cannot be
    read.
    """
    problem = Unreachable("no bootstrap address is set", "set TILLSTREAM_KAFKA__BOOTSTRAP")
    for endpoint in endpoints(kafka):
        try:
            _probe_one(kafka, endpoint)
        except Unreachable as exc:
            problem = exc
        else:
            return
    raise problem


def endpoints(kafka: KafkaSettings) -> Iterator[Endpoint]:
    for address in filter(None, map(str.strip, kafka.bootstrap.split(","))):
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal():
            raise Unreachable(
                f"{address!r} is not host:port", "correct TILLSTREAM_KAFKA__BOOTSTRAP"
            )
        yield Endpoint(
            host.strip("[]"),
            int(port),
            tls=kafka.security_protocol.endswith("SSL"),
            ca_file=kafka.ca_file,
            address_setting="TILLSTREAM_KAFKA__BOOTSTRAP",
            tls_setting=_PROTOCOL,
            ca_setting="TILLSTREAM_KAFKA__CA_FILE",
        )


def _probe_one(kafka: KafkaSettings, endpoint: Endpoint) -> None:
    with connect(endpoint) as link:
        try:
            versions = _versions(link)
        except (OSError, struct.error, ValueError) as exc:
            if not endpoint.tls and speaks_tls(endpoint):
                raise unexpected_tls(endpoint) from exc
            hung_up = isinstance(exc, OSError)
            raise Unreachable(
                "it hangs up: still starting, or not Kafka"
                if hung_up
                else "what answers there is not Kafka",
                "correct TILLSTREAM_KAFKA__BOOTSTRAP",
            ) from exc
        if versions.get(_METADATA, 0) < _METADATA_WITH_TOPIC_IDS:
            raise Unreachable(
                "the broker is older than Kafka 2.8 and has no topic ids",
                "upgrade it, or correct TILLSTREAM_KAFKA__BOOTSTRAP",
            )
        if kafka.security_protocol.startswith("SASL"):
            _log_in(link, kafka)
        else:
            _require_open(link)


def _versions(link: socket.socket) -> dict[int, int]:
    """The highest version of each request that the broker takes."""
    error, count, *_ = struct.unpack_from(">hi", answer := _ask(link, _API_VERSIONS, 0, b""))
    if error or len(answer) < 6 + 6 * count:
        raise ValueError("not an ApiVersions response")
    entries = struct.iter_unpack(">hhh", answer[6 : 6 + 6 * count])
    return {key: highest for key, _, highest in entries}


def _require_open(link: socket.socket) -> None:
    """A listener that wants a login first hangs up on any other request."""
    try:
        _ask(link, _METADATA, 1, struct.pack(">i", 0))
    except (OSError, struct.error, ValueError) as exc:
        raise Unreachable(
            "it asks for a user and password (or a client certificate, which has no setting)",
            f"set {_PROTOCOL} to SASL_SSL, {_USER}",
        ) from exc


def _log_in(link: socket.socket, kafka: KafkaSettings) -> None:
    mechanism = kafka.sasl_mechanism
    try:
        answer = _ask(link, _SASL_HANDSHAKE, 1, _string(mechanism))
        error, offered = _handshake(answer)
    except (OSError, struct.error, ValueError) as exc:
        raise Unreachable("it hung up during the login", f"check {_PROTOCOL}") from exc
    if error == _ILLEGAL_STATE:
        open_protocol = kafka.security_protocol.replace("SASL_PLAINTEXT", "PLAINTEXT")
        raise Unreachable(
            "this listener takes no user and password",
            f"set {_PROTOCOL} to {open_protocol.removeprefix('SASL_')}, "
            "or correct TILLSTREAM_KAFKA__BOOTSTRAP",
        )
    if error == _UNSUPPORTED_MECHANISM:
        raise Unreachable(
            f"it does not take {mechanism}, but {' or '.join(offered)}", f"correct {_MECHANISM}"
        )
    assert kafka.password is not None
    login = get_sasl_mechanism(mechanism)(
        sasl_plain_username=kafka.username,
        sasl_plain_password=kafka.password.get_secret_value(),
        sasl_mechanism=mechanism,
        security_protocol=kafka.security_protocol,
    )
    while not login.is_done():
        token = login.auth_bytes()
        request = struct.pack(">i", len(token)) + token
        try:
            login.receive(_token(_ask(link, _SASL_AUTHENTICATE, 0, request)))
        except OSError as exc:
            raise Unreachable("it hung up during the login", f"check {_PROTOCOL}") from exc
        except (struct.error, ValueError, KeyError) as exc:
            raise Unreachable(
                f"it refused user {kafka.username!r}: unknown, or another password",
                f"check {_USER}",
            ) from exc


def _handshake(answer: bytes) -> tuple[int, list[str]]:
    error, count = struct.unpack_from(">hi", answer)
    offered, at = [], 6
    for _ in range(count):
        (length,) = struct.unpack_from(">h", answer, at)
        offered.append(answer[at + 2 : at + 2 + length].decode())
        at += 2 + length
    return error, offered


def _token(answer: bytes) -> bytes:
    (error,) = struct.unpack_from(">h", answer)
    if error:
        raise ValueError("login refused")
    (message_length,) = struct.unpack_from(">h", answer, 2)
    at = 4 + max(message_length, 0)
    (length,) = struct.unpack_from(">i", answer, at)
    return answer[at + 4 : at + 4 + max(length, 0)]


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack(">h", len(raw)) + raw


def _ask(link: socket.socket, api: int, version: int, body: bytes) -> bytes:
    """One request without a client id; the response after its correlation id."""
    request = struct.pack(">hhih", api, version, 1, -1) + body
    try:
        link.sendall(struct.pack(">i", len(request)) + request)
        size, _correlation = struct.unpack(">ii", _read(link, 8))
        if not 4 <= size <= _LONGEST_RESPONSE_BYTES:
            raise ValueError(f"no response has {size} bytes")
        return _read(link, size - 4)
    except TimeoutError as exc:
        # Says nothing about password or protocol: it must not be told as one of those.
        raise Unreachable(
            f"it takes connections, but did not answer within {TIMEOUT_S:g} s",
            "is it overloaded? look at its log (`tillstream logs kafka` for a local one)",
            answered=False,
        ) from exc


def _read(link: socket.socket, size: int) -> bytes:
    chunks = bytearray()
    while len(chunks) < size:
        chunk = link.recv(size - len(chunks))
        if not chunk:
            raise ConnectionError("hung up")
        chunks += chunk
    return bytes(chunks)
