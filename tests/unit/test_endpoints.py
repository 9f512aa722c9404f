"""What a socket tells of an address."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tillstream.endpoints import Endpoint, Unreachable, check, connect

NOWHERE = Endpoint(
    "127.0.0.1",
    1,
    tls=False,
    ca_file=None,
    address_setting="THE_ADDRESS",
    tls_setting="THE_PROTOCOL",
    ca_setting="THE_CA",
)


@contextmanager
def answering(answer: Callable[[socket.socket], object]) -> Iterator[Endpoint]:
    """A server that does one thing with the first connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            link, _ = listener.accept()
            with link:
                answer(link)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield replace(NOWHERE, port=listener.getsockname()[1])
        thread.join(timeout=30)


def test_an_address_that_nobody_listens_at_did_not_answer() -> None:
    with pytest.raises(Unreachable, match="connection refused") as caught:
        check(NOWHERE)
    assert not caught.value.answered
    assert "THE_ADDRESS" in caught.value.hint


def test_a_server_that_says_nothing_is_not_called_one_without_tls() -> None:
    def wait(link: socket.socket) -> None:
        while link.recv(4096):
            pass

    with answering(wait) as endpoint, pytest.raises(Unreachable) as caught:
        connect(replace(endpoint, tls=True), timeout_s=0.2)
    assert caught.value.what == "no TLS handshake within 0.2 s"
    assert "overloaded" in caught.value.hint
    assert "THE_PROTOCOL" in caught.value.hint


def test_a_server_that_answers_in_plain_text_does_not_speak_tls() -> None:
    def reply(link: socket.socket) -> None:
        link.recv(4096)
        link.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with answering(reply) as endpoint, pytest.raises(Unreachable) as caught:
        connect(replace(endpoint, tls=True))
    assert caught.value.what == "it does not speak TLS"
    assert "THE_PROTOCOL" in caught.value.hint
