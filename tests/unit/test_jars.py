"""Locked libraries: only the locked bytes get in, once, and then no network is needed."""

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tillstream.devstack import jars
from tillstream.devstack.jars import Jar, corrupt_jars, ensure_jars, locked_jars, parse_lock
from tillstream.devstack.ports import free_port
from tillstream.errors import ServiceError

BODIES = {f"org/shop/lib{number}/1/lib{number}-1.jar": b"jar %d" % number for number in range(20)}


@dataclass
class Maven:
    """A repository on loopback that counts what it is asked for."""

    url: str
    asked: list[str] = field(default_factory=list)


class _Handler(http.server.SimpleHTTPRequestHandler):
    asked: list[str]

    def __init__(self, *args: object, asked: list[str], directory: str) -> None:
        self.asked = asked
        super().__init__(*args, directory=directory)  # type: ignore[arg-type]  # as the server passes

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        self.asked.append(self.path)

    def log_error(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def maven(tmp_path: Path) -> Iterator[Maven]:
    for path, body in BODIES.items():
        target = tmp_path / "maven" / path
        target.parent.mkdir(parents=True)
        target.write_bytes(body)
    asked: list[str] = []
    handler = functools.partial(_Handler, asked=asked, directory=str(tmp_path / "maven"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield Maven(f"http://127.0.0.1:{server.server_port}", asked)
        server.shutdown()


@pytest.fixture
def lock(monkeypatch: pytest.MonkeyPatch) -> list[Jar]:
    locked = [
        Jar("kafka", path, hashlib.sha256(body).hexdigest(), len(body))
        for path, body in BODIES.items()
    ]
    monkeypatch.setattr(jars, "locked_jars", lambda _group: locked)
    return locked


def files(cache: Path) -> set[str]:
    return {path.relative_to(cache).as_posix() for path in cache.rglob("*") if path.is_file()}


def test_first_call_fetches_and_later_calls_work_offline(
    tmp_path: Path, maven: Maven, lock: list[Jar]
) -> None:
    cache = tmp_path / "cache"
    seen: list[int] = []
    fetched = ensure_jars("kafka", cache=cache, maven_url=maven.url, progress=seen.append)
    assert [path.read_bytes() for path in fetched] == list(BODIES.values())
    assert len(maven.asked) == 20
    assert sum(seen) == sum(map(len, BODIES.values()))
    nowhere = f"http://127.0.0.1:{free_port()}"
    assert ensure_jars("kafka", cache=cache, maven_url=nowhere) == fetched
    assert files(cache) == set(BODIES)


def test_only_what_is_missing_is_fetched_again(
    tmp_path: Path, maven: Maven, lock: list[Jar]
) -> None:
    fetched = ensure_jars("kafka", cache=tmp_path / "cache", maven_url=maven.url)
    maven.asked.clear()
    fetched[3].write_bytes(b"cut")
    ensure_jars("kafka", cache=tmp_path / "cache", maven_url=maven.url)
    assert maven.asked == [f"/{lock[3].path}"]
    assert fetched[3].read_bytes() == b"jar 3"


def test_wrong_content_is_refused_and_not_kept(
    tmp_path: Path, maven: Maven, lock: list[Jar]
) -> None:
    forged = b"jaR 7"
    (tmp_path / "maven" / lock[7].path).write_bytes(forged)
    with pytest.raises(ServiceError) as caught:
        ensure_jars("kafka", cache=tmp_path / "cache", maven_url=maven.url)
    message = str(caught.value)
    assert "lib7-1.jar" in message
    assert f"expected SHA-256 {lock[7].sha256}" in message
    assert f"got {hashlib.sha256(forged).hexdigest()}" in message
    assert not {name for name in files(tmp_path / "cache") if "lib7" in name}


def test_a_missing_jar_names_its_address(tmp_path: Path, maven: Maven, lock: list[Jar]) -> None:
    (tmp_path / "maven" / lock[0].path).unlink()
    with pytest.raises(ServiceError, match=f"{maven.url}/{lock[0].path} answered 404"):
        ensure_jars("kafka", cache=tmp_path / "cache", maven_url=maven.url)


def test_no_network_says_so(tmp_path: Path, lock: list[Jar]) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(ServiceError, match=r"cannot download lib\d+-1.jar") as caught:
        ensure_jars("kafka", cache=tmp_path / "cache", maven_url=nowhere)
    assert "TILLSTREAM_MAVEN_URL" in (caught.value.hint or "")


def test_damage_of_the_right_size_is_found_by_hashing(
    tmp_path: Path, maven: Maven, lock: list[Jar]
) -> None:
    fetched = ensure_jars("kafka", cache=tmp_path / "cache", maven_url=maven.url)
    assert corrupt_jars(lock, cache=tmp_path / "cache") == []
    fetched[5].write_bytes(b"JAR 5")
    assert corrupt_jars(lock, cache=tmp_path / "cache") == [lock[5]]


def test_lock_lines_are_read() -> None:
    text = "# a comment\n\nspark org/a/1/a-1.jar ab12 77\n"
    assert parse_lock(text) == [Jar("spark", "org/a/1/a-1.jar", "ab12", 77)]


def test_checked_in_lock_holds_broker_and_connectors() -> None:
    kafka = {jar.name for jar in locked_jars("kafka")}
    assert {"kafka_2.13-4.1.1.jar", "kafka-clients-4.1.1.jar"} <= kafka
    assert {jar.name for jar in locked_jars("spark")} == {
        "commons-pool2-2.12.0.jar",
        "kafka-clients-3.9.0.jar",
        "hadoop-bare-naked-local-fs-0.1.0.jar",
        "spark-avro_2.13-4.0.0.jar",
        "spark-sql-kafka-0-10_2.13-4.0.0.jar",
        "spark-token-provider-kafka-0-10_2.13-4.0.0.jar",
    }
    assert all(len(jar.sha256) == 64 and jar.size_bytes > 0 for jar in locked_jars("kafka"))
