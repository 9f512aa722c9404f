"""Running the console as a server."""

import ipaddress
import logging
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn

from tillstream.errors import ConfigError, ServiceError
from tillstream.settings import Settings
from tillstream.web.app import create_app
from tillstream.web.wiring import Console, wire

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_STOP_S = 3


@dataclass(frozen=True, slots=True)
class Place:
    """Where a console listens and what browsers call it. `behind_proxy`: a proxy on this machine
    speaks https with them."""

    host: str = "127.0.0.1"
    port: int = 0
    names: tuple[str, ...] = ()
    certificate: Path | None = None
    key: Path | None = None
    behind_proxy: bool = False

    @property
    def https(self) -> bool:
        return self.certificate is not None or self.behind_proxy

    @property
    def is_local(self) -> bool:
        """Only this machine reaches it."""
        try:
            loopback = ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            loopback = self.host == "localhost"
        return loopback and not self.behind_proxy

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names it answers to; none is every name."""
        if self.is_local or self.behind_proxy:
            return (*_LOOPBACK, *self.names)
        return (*_LOOPBACK, self.host, *self.names) if self.names else ()


def serve_console(settings: Settings, place: Place, *, say: Callable[[str], None]) -> None:
    """Serve until a signal. Raises ConfigError for a place that would not be safe, ServiceError
    when the port is taken."""
    console = wire(settings, https=place.https)
    _check(place, console)
    listener = _listen(place)
    port = listener.getsockname()[1]
    scheme = "https" if place.certificate else "http"
    host = f"[{place.host}]" if ":" in place.host else place.host
    address = f"{scheme}://{host}:{port}"
    if place.is_local:
        say(f"console at [bold]{address}[/]; this link signs you in, once, within 10 minutes:")
        say(f"  {address}/enter/{console.sessions.offer_link()}")
    else:
        say(f"console at [bold]{address}[/]")
    say("Ctrl-C stops it")
    words = "%(asctime)s %(levelname)s %(message)s"
    logging.basicConfig(level=logging.ERROR, format=words, force=True)
    logging.getLogger("tillstream").setLevel(logging.WARNING)
    # Once it has ended, uvicorn sends itself the signal again: being told to stop is no failure.
    signal.signal(signal.SIGTERM, lambda *_: None)
    server = uvicorn.Server(config(console, place))
    server.run(sockets=[listener])


def config(console: Console, place: Place) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(console, hosts=place.hosts),
        ssl_certfile=place.certificate,
        ssl_keyfile=place.key,
        # The paths hold one-time links; who came in is in the record of sign-ins.
        access_log=False,
        log_level=logging.WARNING,
        proxy_headers=place.behind_proxy,
        forwarded_allow_ips="127.0.0.1" if place.behind_proxy else None,
        server_header=False,
        timeout_graceful_shutdown=_STOP_S,
    )


def _check(place: Place, console: Console) -> None:
    _check_public_url(place, console.settings.web.oidc.public_url)
    for path in (place.certificate, place.key):
        if path is not None and not path.is_file():
            raise ConfigError(f"there is no file {path}")
    if place.is_local:
        return
    if not place.https:
        raise ConfigError(
            f"{place.host} is not this machine alone: passwords would travel in clear",
            hint="give --certificate and --key, or --behind-proxy, or listen on 127.0.0.1",
        )
    if console.provider is None and not console.accounts.all():
        raise ConfigError(
            "nobody could sign in: there are no users",
            hint="`tillstream web user add NAME --role admin`",
        )


def _check_public_url(place: Place, public_url: str | None) -> None:
    """The issuer sends browsers back there."""
    if public_url is None:
        return
    parts = urlsplit(public_url)
    if (parts.scheme == "https") != place.https:
        raise ConfigError(
            f"TILLSTREAM_WEB__OIDC__PUBLIC_URL is {public_url}, but this console is served by"
            f" {'https' if place.https else 'http'}",
            hint="give --certificate and --key, or --behind-proxy, or another address",
        )
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    if place.hosts and host not in place.hosts:
        raise ConfigError(
            f"TILLSTREAM_WEB__OIDC__PUBLIC_URL is {public_url}, a name that this console does not"
            " answer to",
            hint=f"give --name {parts.hostname}",
        )


def _listen(place: Place) -> socket.socket:
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((place.host, place.port))
    except OSError as exc:
        listener.close()
        raise ServiceError(
            f"cannot listen on {place.host}:{place.port}: {exc.strerror}",
            hint="another console may be running; --port 0 takes a free port",
        ) from exc
    listener.listen(512)
    return listener
