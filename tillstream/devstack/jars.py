"""The Java libraries of the local services, fetched once by a checked-in lock.

Every jar is verified against its SHA-256 before it gets its final name, so a file in the cache with
the locked size is a verified one: later starts look at sizes alone and need no network.
`corrupt_jars` hashes everything again.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

import httpx

from tillstream.errors import ServiceError
from tillstream.settings import Settings

Group = Literal["kafka", "spark"]
GROUPS: tuple[Group, ...] = ("kafka", "spark")

# Called from several threads with the bytes that just arrived.
Progress = Callable[[int], None]

_THREADS = 16
_CHUNK_BYTES = 1 << 18
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of the lock. `path` is relative to a Maven repository."""

    group: str
    path: str
    sha256: str
    size_bytes: int

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


def locked_jars(group: Group) -> list[Jar]:
    """The jars of a group, in the order of the lock."""
    text = resources.files("tillstream.devstack").joinpath("jars.lock").read_text(encoding="utf-8")
    return [jar for jar in parse_lock(text) if jar.group == group]


def parse_lock(text: str) -> list[Jar]:
    """Lines of `group path sha256 bytes`; blank lines and `#` comments are skipped."""
    jars = []
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            group, path, sha256, size = line.split()
            jars.append(Jar(group, path, sha256, int(size)))
    return jars


def missing_jars(jars: Iterable[Jar], *, cache: Path) -> list[Jar]:
    """Those not in the cache with their locked size."""
    return [jar for jar in jars if _size(cache / jar.path) != jar.size_bytes]


def corrupt_jars(jars: Iterable[Jar], *, cache: Path) -> list[Jar]:
    """Those present whose content is not the locked one. Reads every byte."""
    return [
        jar
        for jar in jars
        if (cache / jar.path).is_file() and _sha256(cache / jar.path) != jar.sha256
    ]


def ensure_jars(
    group: Group, *, cache: Path, maven_url: str, progress: Progress | None = None
) -> list[Path]:
    """Paths of the group's verified jars, fetching those the cache lacks.

    Raises ServiceError when a jar cannot be fetched or is not the locked one; a refused download
    leaves nothing behind.
    """
    jars = locked_jars(group)
    fetch_jars(missing_jars(jars, cache=cache), cache=cache, maven_url=maven_url, progress=progress)
    return [cache / jar.path for jar in jars]


def fetch_jars(
    jars: list[Jar], *, cache: Path, maven_url: str, progress: Progress | None = None
) -> None:
    """Download jars in parallel into the cache. Raises ServiceError as `ensure_jars` does."""
    if not jars:
        return
    report = progress or (lambda _bytes: None)
    with (
        httpx.Client(timeout=30.0, follow_redirects=True) as client,
        ThreadPoolExecutor(min(_THREADS, len(jars)), thread_name_prefix="jars") as pool,
    ):
        futures = [
            pool.submit(
                _fetch,
                jar,
                client=client,
                url=f"{maven_url.rstrip('/')}/{jar.path}",
                target=cache / jar.path,
                progress=report,
            )
            for jar in jars
        ]
        done, waiting = wait(futures, return_when=FIRST_EXCEPTION)
        for future in waiting:
            future.cancel()
        for future in done:
            future.result()


def jar_cache(settings: Settings) -> Path:
    return settings.cache / "jars"


def kafka_classpath(settings: Settings, *, progress: Progress | None = None) -> str:
    """The broker's class path, for `java -cp`."""
    return os.pathsep.join(str(path) for path in _ensure("kafka", settings, progress))


def spark_jars(settings: Settings, *, progress: Progress | None = None) -> list[Path]:
    """Spark's Kafka and Avro sources, for `spark.jars`."""
    return _ensure("spark", settings, progress)


def _ensure(group: Group, settings: Settings, progress: Progress | None) -> list[Path]:
    return ensure_jars(
        group, cache=jar_cache(settings), maven_url=settings.maven_url, progress=progress
    )


def _fetch(jar: Jar, *, client: httpx.Client, url: str, target: Path, progress: Progress) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _fetch_once(jar, client=client, url=url, target=target, progress=progress)
            return
        except httpx.HTTPStatusError as exc:
            if exc.response.status_code < 500 or attempt == _ATTEMPTS:
                raise ServiceError(
                    f"{url} answered {exc.response.status_code}",
                    hint="check TILLSTREAM_MAVEN_URL: it must be a Maven repository",
                ) from exc
        except httpx.TransportError as exc:
            # A refused connection will be refused again; a broken transfer may not.
            if isinstance(exc, httpx.ConnectError) or attempt == _ATTEMPTS:
                raise ServiceError(
                    f"cannot download {jar.name} from {url}: {exc}",
                    hint="check the network, or point TILLSTREAM_MAVEN_URL to a Maven mirror; "
                    "once downloaded, jars are never fetched again",
                ) from exc


def _fetch_once(
    jar: Jar, *, client: httpx.Client, url: str, target: Path, progress: Progress
) -> None:
    digest = hashlib.sha256()
    target.parent.mkdir(parents=True, exist_ok=True)
    # The temporary name is unique, so that two programs filling one cache do not mix their bytes.
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{jar.name}.", suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file, client.stream("GET", url) as response:
            response.raise_for_status()
            for chunk in response.iter_bytes(_CHUNK_BYTES):
                digest.update(chunk)
                file.write(chunk)
                progress(len(chunk))
        if digest.hexdigest() != jar.sha256:
            raise ServiceError(
                f"{jar.name} from {url} is not the locked jar: "
                f"expected SHA-256 {jar.sha256}, got {digest.hexdigest()}",
                hint="nothing was kept; check what answers at TILLSTREAM_MAVEN_URL",
            )
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
