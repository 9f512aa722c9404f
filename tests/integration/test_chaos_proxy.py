"""The proxies and the full disk, on real sockets and a real mount."""

import errno
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tillstream.chaos.disk import Disk
from tillstream.chaos.proxy import Link, Proxies
from tillstream.devstack.ports import LOOPBACK, free_port
from tillstream.errors import ServiceError

pytestmark = pytest.mark.integration


class Server:
    """Answers every line with itself, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self._socket = socket.create_server((LOOPBACK, 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rwb") as stream:
            try:
                for line in stream:
                    self.asked.append(line)
                    stream.write(b"done " + line)
                    stream.flush()
            except OSError:
                return

    def close(self) -> None:
        # A thread may wait in accept: only shutting down wakes it.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.close()


@pytest.fixture
def proxies() -> Iterator[Proxies]:
    with Proxies() as some:
        yield some


@pytest.fixture
def link(server: Server, proxies: Proxies) -> Link:
    return proxies.open("link", port=free_port(), upstream=server.port)


def ask(connection: socket.socket, line: bytes) -> bytes:
    """The answer; empty when the connection ended without one."""
    try:
        connection.sendall(line)
        return connection.recv(1024)
    except ConnectionError:
        return b""


def connected(link: Link) -> socket.socket:
    return socket.create_connection((LOOPBACK, link.port), timeout=10)


def test_a_healthy_link_carries_both_ways(link: Link) -> None:
    with connected(link) as connection:
        assert ask(connection, b"one\n") == b"done one\n"
        assert ask(connection, b"two\n") == b"done two\n"
    assert link.carried_bytes == len(b"one\ndone one\ntwo\ndone two\n")


def test_a_lost_answer_is_lost_after_the_server_did_it(server: Server, link: Link) -> None:
    link.lose = b"insert"
    with connected(link) as connection:
        assert ask(connection, b"select\n") == b"done select\n"
        assert ask(connection, b"INSERT\n") == b""
    assert server.asked == [b"select\n", b"INSERT\n"]
    assert link.lost == 1


def test_a_cut_link_resets_what_is_open_and_refuses_what_is_new_until_it_heals(
    proxies: Proxies, server: Server, link: Link
) -> None:
    with connected(link) as connection:
        assert ask(connection, b"one\n") == b"done one\n"
        proxies.cut("link")
        with pytest.raises(ConnectionError):
            if not connection.recv(1024):
                raise ConnectionError
    with connected(link) as refused:
        assert ask(refused, b"two\n") == b""
    proxies.heal()
    deadline = time.monotonic() + 10
    answer = b""
    while not answer and time.monotonic() < deadline:
        with connected(link) as connection:
            answer = ask(connection, b"three\n")
    assert answer == b"done three\n"
    assert b"two\n" not in server.asked


def test_a_slow_link_takes_its_time_in_both_directions(link: Link) -> None:
    link.delay_s = 0.2
    began = time.monotonic()
    with connected(link) as connection:
        assert ask(connection, b"one\n") == b"done one\n"
    assert time.monotonic() - began >= 0.4


def test_a_link_to_nobody_ends_the_connection(proxies: Proxies) -> None:
    link = proxies.open("nobody", port=free_port(), upstream=free_port())
    with connected(link) as connection:
        assert ask(connection, b"one\n") == b""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    try:
        one = Disk.mount(tmp_path / "disk")
    except ServiceError as exc:
        pytest.skip(f"mounting is not allowed here: {exc}")
    yield one
    one.unmount()


def test_a_full_disk_refuses_and_a_relieved_one_takes_again(disk: Disk) -> None:
    kept = disk.folder / "kept"
    kept.write_bytes(b"x" * 100_000)
    disk.fill()
    with pytest.raises(OSError) as refused:
        (disk.folder / "more").write_bytes(b"y" * 100_000)
    assert refused.value.errno == errno.ENOSPC
    assert kept.read_bytes() == b"x" * 100_000
    disk.relieve()
    (disk.folder / "more").write_bytes(b"y" * 100_000)
