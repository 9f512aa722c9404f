"""Storage failures in the lake's own words: which setting is wrong and what to do about it."""

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from tillstream.errors import IntegrityError, ServiceError

# What the S3 client's message contains -> (what is wrong, what to do).
_S3_FAILURES = {
    "NO_SUCH_BUCKET": (
        "its bucket does not exist",
        "correct TILLSTREAM_LAKE__URL, or create the bucket with `tillstream provision`",
    ),
    "INVALID_ACCESS_KEY_ID": (
        "the server does not know this access key",
        "correct TILLSTREAM_LAKE__ACCESS_KEY",
    ),
    "SIGNATURE_DOES_NOT_MATCH": (
        "the secret key does not belong to the access key",
        "correct TILLSTREAM_LAKE__SECRET_KEY",
    ),
    "ACCESS_DENIED": (
        "the access key is not allowed to do this",
        "check TILLSTREAM_LAKE__ACCESS_KEY and the bucket policy of that user",
    ),
    "NETWORK_CONNECTION": (
        "no S3 server answers",
        "correct TILLSTREAM_LAKE__ENDPOINT (http:// or https://, host and port)",
    ),
}


@contextmanager
def translated(*, url: str, doing: str) -> Iterator[None]:
    """Raise ServiceError for a storage failure, with the setting to correct as its hint."""
    try:
        yield
    except FileNotFoundError as exc:
        raise ServiceError(f"lake {url}: {doing}: there is no such object") from exc
    except OSError as exc:
        for mark, (wrong, hint) in _S3_FAILURES.items():
            if mark in str(exc):
                raise ServiceError(f"lake {url}: {doing}: {wrong}", hint=hint) from exc
        raise ServiceError(
            f"lake {url}: {doing}: {exc}", hint="check TILLSTREAM_LAKE__URL and free disk space"
        ) from exc


@contextmanager
def reading(*, url: str, name: str) -> Iterator[None]:
    """`translated` for reads of an object, and IntegrityError when its bytes are damaged."""
    with translated(url=url, doing=f"reading {name}"):
        try:
            yield
        except (pa.ArrowInvalid, OSError) as exc:
            # Arrow raises a bare OSError for bad bytes: no errno, and not from the S3 client.
            if isinstance(exc, OSError) and (exc.errno is not None or "AWS Error" in str(exc)):
                raise
            raise IntegrityError(
                f"lake {url}: {name} is damaged: {exc}",
                hint="remove it and archive its offsets again while Kafka still has them",
            ) from exc
