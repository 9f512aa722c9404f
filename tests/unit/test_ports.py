"""Ports on loopback: taken ones are refused with the name of their holder."""

import os
import socket
from collections.abc import Iterator

import psutil
import pytest

from tillstream.devstack.ports import free_port, is_free, require_free
from tillstream.errors import ServiceError


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_free_port_is_below_the_ports_of_outgoing_connections() -> None:
    port = free_port()
    assert 20_000 <= port < 30_000
    assert is_free(port)


def test_taken_port_names_its_holder_and_its_setting(taken: int) -> None:
    assert not is_free(taken)
    with pytest.raises(ServiceError) as caught:
        require_free(taken, part="kafka", setting="TILLSTREAM_KAFKA__EMBEDDED_PORT")
    mine = f"{psutil.Process().name()} (pid {os.getpid()})"
    assert str(caught.value) == (
        f"kafka cannot listen on 127.0.0.1:{taken}: the port is taken by {mine}"
    )
    assert "TILLSTREAM_KAFKA__EMBEDDED_PORT" in (caught.value.hint or "")
