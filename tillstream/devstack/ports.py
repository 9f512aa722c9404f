"""Ports of the local services, on loopback."""

import random
import socket
from collections.abc import Collection

import psutil

from tillstream.errors import ServiceError

LOOPBACK = "127.0.0.1"

# Below the range from which systems number outgoing connections (Linux 32768, others 49152): a port
# there can be taken, while its service restarts, by any client's own end of a connection, even by
# the one that tries to reconnect to it.
_CHOICE = range(20_000, 30_000)
_TRIES = 200


def is_free(port: int) -> bool:
    """Whether a service could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As services do: an old connection in TIME_WAIT does not make a port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def free_port(*, avoid: Collection[int] = ()) -> int:
    """A port nobody listens on. Raises ServiceError when none can be found."""
    for port in random.sample(_CHOICE, _TRIES):
        if port not in avoid and is_free(port):
            return port
    raise ServiceError(
        f"no free port among {_TRIES} tried between {_CHOICE.start} and {_CHOICE.stop}",
        hint="see what listens with: ss -ltnp",
    )


def require_free(port: int, *, part: str, setting: str) -> None:
    """Raises ServiceError naming who holds the port when it is taken."""
    if is_free(port):
        return
    raise ServiceError(
        f"{part} cannot listen on {LOOPBACK}:{port}: the port is taken by {holder(port)}",
        hint=f"stop that process, or set {setting} to another port (0 chooses a free one)",
    )


def holder(port: int) -> str:
    """The process that listens on a port, in words; it may belong to somebody else."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        connections = []
    for connection in connections:
        if connection.laddr and connection.laddr.port == port and connection.pid:
            try:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
            except psutil.NoSuchProcess:
                break
    return "a process this user cannot see"
