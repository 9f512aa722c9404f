"""One small interface over a local folder and any S3 server."""

import errno
import os
import uuid
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from lake.failures import reading, translated
from lake.paths import RAW_PREFIX
from tillstream.endpoints import Endpoint
from tillstream.errors import ConfigError
from tillstream.settings import LakeSettings
from tillstream.telemetry.clients import lake_write_measured

_CONNECT_TIMEOUT_S = 3.0
_REQUEST_TIMEOUT_S = 30.0
_ATTEMPTS = 3
# Small enough to stream an object by parts, large enough to compress well.
_ROW_GROUP_ROWS = 50_000
# Binary columns would put whole values into every footer.
_STATISTICS = ["offset", "arrival"]


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object's name below the lake's root, and its size."""

    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Lake:
    """Objects under one root. Build it with `connect`; it can be sent to other processes.

    An object appears whole or not at all. Every method raises ServiceError, within bounded time,
    when the storage cannot be reached or refuses, and names the setting to correct.
    """

    url: str
    files: fs.FileSystem
    folder: Path | None
    endpoint: Endpoint | None = None

    def check(self) -> None:
        """Prove that the root can be read (and, for a folder, written)."""
        if self.folder is not None:
            with self._translated("opening the folder"):
                self.folder.mkdir(parents=True, exist_ok=True)
                if not os.access(self.folder, os.W_OK | os.X_OK):
                    raise PermissionError(errno.EACCES, "not writable", str(self.folder))
        # A HEAD request has no body to say what is wrong; a shallow listing says it. Of the folder
        # that every service's key may list.
        self._find(_safe(RAW_PREFIX), recursive=False)

    def write(self, name: str, table: pa.Table) -> int:
        """Write one zstd Parquet object, replacing any of that name; returns its bytes.

        In a folder the object is on disk, synced, when this returns.
        """
        sink = pa.BufferOutputStream()
        statistics = [column for column in _STATISTICS if column in table.column_names]
        pq.write_table(
            table,
            sink,
            compression="zstd",
            row_group_size=_ROW_GROUP_ROWS,
            write_statistics=statistics,
            write_page_checksum=True,
        )
        content = sink.getvalue()
        self._put(name, content)
        return int(content.size)

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write one object as it is, replacing any of that name."""
        self._put(name, pa.py_buffer(content))

    def read_bytes(self, name: str) -> bytes:
        """The whole object as it is. Raises IntegrityError when it is missing."""
        with self._reading(name), self.files.open_input_stream(_safe(name)) as stream:
            return bytes(stream.read())

    def _put(self, name: str, content: pa.Buffer) -> None:
        with lake_write_measured(content.size), self._translated(f"writing {name}"):
            if self.folder is not None:
                _write_file(self.folder / _safe(name), content)
            else:
                # One write of the whole content: nothing of ours can fail between open and
                # close, where closing would publish half an object.
                with self.files.open_output_stream(_safe(name)) as stream:
                    stream.write(content)

    def read(self, name: str) -> pa.Table:
        """The whole object. Raises IntegrityError when its bytes are damaged."""
        with self._reading(name), self.open(name) as parquet:
            return parquet.read()

    def row_count(self, name: str) -> int:
        """Rows in the object, from its Parquet footer alone."""
        with self._reading(name), self.open(name) as parquet:
            return int(parquet.metadata.num_rows)

    def open(self, name: str) -> pq.ParquetFile:
        """The object for streaming; close it, or use it in a `with`."""
        with self._reading(name):
            return pq.ParquetFile(
                _safe(name), filesystem=self.files, page_checksum_verification=True
            )

    def exists(self, name: str) -> bool:
        with self._translated(f"looking for {name}"):
            found = self.files.get_file_info(_safe(name))
        return bool(found.type == fs.FileType.File)

    def list(self, prefix: str = "") -> tuple[ObjectInfo, ...]:
        """Every object below the folder `prefix`, sorted by name; none when it is missing."""
        return self._find(_safe(prefix) if prefix else "", recursive=True)

    def delete(self, name: str) -> None:
        """Remove an object; removing one that is not there does nothing."""
        with self._translated(f"deleting {name}"):
            try:
                self.files.delete_file(_safe(name))
            except FileNotFoundError:
                return

    def _translated(self, doing: str) -> AbstractContextManager[None]:
        return translated(url=self.url, doing=doing, endpoint=self.endpoint)

    def _reading(self, name: str) -> AbstractContextManager[None]:
        return reading(url=self.url, name=name, endpoint=self.endpoint)

    def _find(self, prefix: str, *, recursive: bool) -> tuple[ObjectInfo, ...]:
        with self._translated(f"listing {prefix or 'the root'}"):
            try:
                # Not allow_not_found: it would call a missing bucket an empty lake.
                found = self.files.get_file_info(fs.FileSelector(prefix, recursive=recursive))
            except FileNotFoundError:
                return ()
        objects = (
            ObjectInfo(info.path, info.size)
            for info in found
            # A dot marks what a killed writer left unfinished.
            if info.type == fs.FileType.File and not info.base_name.startswith(".")
        )
        return tuple(sorted(objects, key=lambda info: info.name))


def connect(settings: LakeSettings, *, url: str) -> Lake:
    """The lake at `url` (`file:///folder`, a plain path, or `s3://bucket[/prefix]`).

    Does no I/O: `Lake.check` or the first operation does. Call it in the process that uses it:
    S3 clients do not survive a fork. Raises ConfigError for a URL or endpoint that makes no sense.
    """
    if urlsplit(url).scheme == "s3":
        bucket, prefix = split_s3_url(url)
        root = f"{bucket}/{prefix}" if prefix else bucket
        return Lake(url, fs.SubTreeFileSystem(root, _s3(settings)), None, endpoint_of(settings))
    folder = _folder(url)
    return Lake(url, fs.SubTreeFileSystem(str(folder), fs.LocalFileSystem()), folder)


def split_s3_url(url: str) -> tuple[str, str]:
    """(bucket, prefix without slashes at its ends)."""
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc:
        raise ConfigError(f"TILLSTREAM_LAKE__URL is not s3://bucket[/prefix]: {url!r}")
    prefix = parts.path.strip("/")
    return parts.netloc, _safe(prefix) if prefix else ""


def split_endpoint(endpoint: str) -> tuple[str, str]:
    """(scheme, host:port) of `http(s)://host[:port]`; without a scheme it means https."""
    parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
        raise ConfigError(
            f"TILLSTREAM_LAKE__ENDPOINT is not http(s)://host[:port]: {endpoint!r}",
            hint="for a local MinIO it is http://127.0.0.1:9000",
        )
    return parts.scheme, parts.netloc


def endpoint_of(settings: LakeSettings) -> Endpoint | None:
    """Where the S3 server is, for a diagnosis; None for AWS."""
    if not settings.endpoint:
        return None
    scheme, place = split_endpoint(settings.endpoint)
    parts = urlsplit(f"//{place}")
    tls = scheme == "https"
    return Endpoint(
        parts.hostname or "",
        parts.port or (443 if tls else 80),
        tls=tls,
        ca_file=settings.ca_file,
        address_setting="TILLSTREAM_LAKE__ENDPOINT",
        tls_setting="TILLSTREAM_LAKE__ENDPOINT (http:// or https://)",
        ca_setting="TILLSTREAM_LAKE__CA_FILE",
    )


def _folder(url: str) -> Path:
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path:
        return Path(unquote(parts.path))
    if parts.scheme == "" and url:
        return Path(url).expanduser().absolute()
    raise ConfigError(
        f"TILLSTREAM_LAKE__URL is neither file:///folder nor s3://bucket[/prefix]: {url!r}"
    )


def _s3(settings: LakeSettings) -> fs.S3FileSystem:
    where = {}
    if settings.endpoint:
        scheme, host = split_endpoint(settings.endpoint)
        where = {"scheme": scheme, "endpoint_override": host}
    if (settings.access_key is None) != (settings.secret_key is None):
        raise ConfigError("set both TILLSTREAM_LAKE__ACCESS_KEY and TILLSTREAM_LAKE__SECRET_KEY")
    return fs.S3FileSystem(
        access_key=settings.access_key,
        secret_key=settings.secret_key.get_secret_value() if settings.secret_key else None,
        region=settings.region,
        connect_timeout=_CONNECT_TIMEOUT_S,
        request_timeout=_REQUEST_TIMEOUT_S,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
        tls_ca_file_path=str(settings.ca_file) if settings.ca_file else None,
        allow_delayed_open=True,  # small objects become a single PUT
        **where,
    )


def _write_file(path: Path, content: pa.Buffer) -> None:
    """Write beside the target, sync, rename: a reader never sees half, a power cut keeps all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with beside.open("wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _safe(name: str) -> str:
    parts = PurePosixPath(name)
    if not name or parts.is_absolute() or ".." in parts.parts:
        raise ConfigError(f"{name!r} is not a name below the lake's root")
    return str(parts)
