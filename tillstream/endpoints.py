"""Whether something listens at an address and speaks TLS as expected; if not, why, in one phrase.

Clients report such things late (after minutes of retries) or vaguely ("no server answers"). Asking
the socket itself tells which setting to correct.
"""

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from tillstream.errors import ConfigError

# Long enough for a busy machine to shake hands.
TIMEOUT_S = 10.0

# OpenSSL's numbers of what is wrong with a certificate.
_EXPIRED = {9, 10}
_UNTRUSTED = {2, 18, 19, 20, 21}
_OTHER_NAME = {62, 64}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address, and the names of the settings that say so: a message tells them."""

    host: str
    port: int
    tls: bool
    ca_file: Path | None
    address_setting: str
    tls_setting: str
    ca_setting: str

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Unreachable(Exception):
    """Why an endpoint cannot be used: `what` is wrong, what to do about it, and whether anything
    answered at all."""

    def __init__(self, what: str, hint: str, *, answered: bool = True) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
        self.answered = answered


def tls_context(ca_file: Path | None, *, setting: str) -> ssl.SSLContext:
    """Trusts the authorities in `ca_file`, or the system's. Raises ConfigError naming `setting`."""
    try:
        return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except FileNotFoundError as exc:
        raise ConfigError(f"{setting}: there is no file {ca_file}") from exc
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError(
            f"{setting}: {ca_file} is not a readable PEM file of certificates"
        ) from exc


def connect(endpoint: Endpoint, *, timeout_s: float = TIMEOUT_S) -> socket.socket:
    """A socket to the endpoint, wrapped in verified TLS when it should be. Raises Unreachable."""
    link = _dial(endpoint, timeout_s)
    if not endpoint.tls:
        return link
    try:
        context = tls_context(endpoint.ca_file, setting=endpoint.ca_setting)
        return context.wrap_socket(link, server_hostname=endpoint.host)
    except ssl.SSLCertVerificationError as exc:
        link.close()
        raise _distrusted(endpoint, exc) from exc
    except TimeoutError as exc:
        link.close()
        raise Unreachable(
            f"no TLS handshake within {timeout_s:g} s",
            f"it is overloaded, or does not speak TLS: check {endpoint.tls_setting}",
        ) from exc
    except OSError as exc:
        link.close()
        raise Unreachable(
            "it does not speak TLS",
            f"correct {endpoint.address_setting}, or {endpoint.tls_setting}",
        ) from exc
    except BaseException:
        link.close()
        raise


def speaks_tls(endpoint: Endpoint, *, timeout_s: float = TIMEOUT_S) -> bool:
    """Whether a TLS handshake of any certificate gets through."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with _dial(endpoint, timeout_s) as link, context.wrap_socket(link):
            return True
    except (Unreachable, OSError):
        return False


def check(endpoint: Endpoint, *, timeout_s: float = TIMEOUT_S) -> None:
    """Raise Unreachable when nothing listens there, or TLS is there or missing unexpectedly."""
    connect(endpoint, timeout_s=timeout_s).close()
    if not endpoint.tls and speaks_tls(endpoint, timeout_s=timeout_s):
        raise unexpected_tls(endpoint)


def unexpected_tls(endpoint: Endpoint) -> Unreachable:
    return Unreachable("it speaks TLS, and the settings say plain text", endpoint.tls_setting)


def _dial(endpoint: Endpoint, timeout_s: float) -> socket.socket:
    correct = f"correct {endpoint.address_setting}"
    try:
        return socket.create_connection((endpoint.host, endpoint.port), timeout_s)
    except socket.gaierror as exc:
        raise Unreachable(f"no machine is called {endpoint.host}", correct, answered=False) from exc
    except TimeoutError as exc:
        hint = f"{correct}, or look for a firewall on the way"
        raise Unreachable(f"no answer within {timeout_s:g} s", hint, answered=False) from exc
    except ConnectionRefusedError as exc:
        hint = f"start it (`tillstream up` starts a local one), or {correct}"
        raise Unreachable("connection refused", hint, answered=False) from exc
    except OSError as exc:
        raise Unreachable(exc.strerror or str(exc), correct, answered=False) from exc


def _distrusted(endpoint: Endpoint, exc: ssl.SSLCertVerificationError) -> Unreachable:
    if exc.verify_code in _EXPIRED:
        return Unreachable(
            "its certificate has expired or is not valid yet",
            "renew the server's certificate, and look at both clocks",
        )
    if exc.verify_code in _OTHER_NAME:
        return Unreachable(
            f"its certificate is not for {endpoint.host}",
            f"use a name of the certificate in {endpoint.address_setting}",
        )
    if exc.verify_code in _UNTRUSTED:
        trusted = f"the authority in {endpoint.ca_file}" if endpoint.ca_file else "the system"
        return Unreachable(
            f"its certificate is not trusted by {trusted}",
            f"set {endpoint.ca_setting} to the PEM file of the authority that signed it",
        )
    return Unreachable(
        f"its certificate is refused: {exc.verify_message}", f"check {endpoint.ca_setting}"
    )
