"""Storage failures in the lake's own words: which setting is wrong and what to do about it."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from tillstream.endpoints import Endpoint, Unreachable, check
from tillstream.errors import ConfigError, IntegrityError, ServiceError

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
        "check TILLSTREAM_LAKE__ACCESS_KEY and the policy of that user (deploy/minio/)",
    ),
    "HTTP status 507": (
        "the server's disk is full",
        "free some space on the S3 server; what was not stored is tried again by itself",
    ),
}
_NETWORK = "NETWORK_CONNECTION"


@contextmanager
def translated(*, url: str, doing: str, endpoint: Endpoint | None = None) -> Iterator[None]:
    """Raise ServiceError for a storage failure, with the setting to correct as its hint."""
    try:
        yield
    except FileNotFoundError as exc:
        raise ServiceError(f"lake {url}: {doing}: there is no such object") from exc
    except OSError as exc:
        raise _told(exc, url=url, doing=doing, endpoint=endpoint) from exc


@contextmanager
def reading(*, url: str, name: str, endpoint: Endpoint | None = None) -> Iterator[None]:
    """`translated` for reads of an object, and IntegrityError when its bytes are damaged."""
    with translated(url=url, doing=f"reading {name}", endpoint=endpoint):
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


def no_answer(endpoint: Endpoint | None, *, url: str, doing: str) -> ServiceError | ConfigError:
    """Why the S3 server cannot be talked to: its address is asked, since S3 clients do not say."""
    hint = "correct TILLSTREAM_LAKE__ENDPOINT (http:// or https://, host and port)"
    if endpoint is None:
        return ServiceError(f"lake {url}: {doing}: no S3 server answers", hint=hint)
    try:
        check(endpoint)
    except Unreachable as exc:
        verb = "cannot be used" if exc.answered else "does not answer"
        return ServiceError(f"lake {url}: {doing}: {endpoint} {verb}: {exc.what}", hint=exc.hint)
    except ConfigError as exc:
        return ConfigError(f"lake {url}: {exc}", hint=exc.hint)
    return ServiceError(f"lake {url}: {doing}: what answers at {endpoint} is not S3", hint=hint)


def _told(
    exc: OSError, *, url: str, doing: str, endpoint: Endpoint | None
) -> ServiceError | ConfigError:
    text = str(exc)
    for mark, (wrong, hint) in _S3_FAILURES.items():
        if mark in text:
            return ServiceError(f"lake {url}: {doing}: {wrong}", hint=hint)
    if _NETWORK in text:
        return no_answer(endpoint, url=url, doing=doing)
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return ServiceError(
            f"lake {url}: {doing}: the disk is full ({exc.strerror})",
            hint="free some space there; what was not stored is tried again by itself",
        )
    setting = "ENDPOINT: is it an S3 server?" if "AWS Error" in text else "URL"
    return ServiceError(f"lake {url}: {doing}: {exc}", hint=f"check TILLSTREAM_LAKE__{setting}")
