"""Set up an S3 lake: its bucket, its retention, and what its user may do."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import urllib3
from minio import Minio
from minio.commonconfig import ENABLED, Filter
from minio.credentials.providers import (
    AWSConfigProvider,
    ChainedProvider,
    EnvAWSProvider,
    IamAwsProvider,
)
from minio.error import MinioException, S3Error
from minio.lifecycleconfig import Expiration, LifecycleConfig, Rule

from lake.client import split_endpoint, split_s3_url
from lake.paths import RAW_PREFIX
from tillstream.errors import ConfigError, ServiceError
from tillstream.settings import LakeSettings

RETENTION_RULE = "tillstream-raw-retention"

_AWS_ENDPOINT = "https://s3.amazonaws.com"
_TIMEOUT = urllib3.Timeout(connect=3.0, read=30.0)
_RETRIES = urllib3.Retry(total=2, backoff_factor=0.2, status_forcelist=(500, 502, 503, 504))

_HINTS = {
    "InvalidAccessKeyId": "correct TILLSTREAM_LAKE__ACCESS_KEY",
    "SignatureDoesNotMatch": "correct TILLSTREAM_LAKE__SECRET_KEY",
    "AccessDenied": "use a key that may create buckets and set their lifecycle",
    "InvalidBucketName": "correct the bucket in TILLSTREAM_LAKE__URL",
}


@dataclass(frozen=True, slots=True)
class Prepared:
    """`created` is False when the bucket was there; `retention_days` None keeps records forever."""

    bucket: str
    created: bool
    retention_days: int | None


def prepare_bucket(settings: LakeSettings, *, url: str) -> Prepared:
    """Create the bucket when it is missing and give raw-data/ its retention. Safe to repeat.

    Lifecycle rules that others set on the bucket stay as they are. S3 counts retention from when
    an object was written, which is within a batch of its records' arrival. Raises ServiceError
    naming the setting to correct, within bounded time.
    """
    bucket, prefix = split_s3_url(url)
    with _translated(url=url):
        client = _client(settings)
        created = not _exists(client, bucket=bucket, prefix=prefix)
        if created:
            client.make_bucket(bucket_name=bucket, location=settings.region)
        _set_retention(
            client,
            bucket=bucket,
            prefix=f"{prefix}/{RAW_PREFIX}".lstrip("/"),
            days=settings.retention_days,
        )
    return Prepared(bucket, created, settings.retention_days)


def least_privilege_policy(url: str) -> dict[str, Any]:
    """The IAM policy of the lake's user: its own objects, and nothing else in the account."""
    bucket, prefix = split_s3_url(url)
    listing: dict[str, Any] = {
        "Effect": "Allow",
        "Action": ["s3:ListBucket"],
        "Resource": [f"arn:aws:s3:::{bucket}"],
    }
    if prefix:
        listing["Condition"] = {"StringLike": {"s3:prefix": [f"{prefix}", f"{prefix}/*"]}}
    objects = {
        "Effect": "Allow",
        "Action": [
            "s3:AbortMultipartUpload",
            "s3:DeleteObject",
            "s3:GetObject",
            "s3:PutObject",
        ],
        "Resource": [f"arn:aws:s3:::{bucket}/{prefix}/*" if prefix else f"arn:aws:s3:::{bucket}/*"],
    }
    return {"Version": "2012-10-17", "Statement": [listing, objects]}


def _client(settings: LakeSettings) -> Minio:
    scheme, host = split_endpoint(settings.endpoint or _AWS_ENDPOINT)
    keys: dict[str, Any] = {
        "credentials": ChainedProvider([EnvAWSProvider(), AWSConfigProvider(), IamAwsProvider()])
    }
    if settings.access_key and settings.secret_key:
        keys = {
            "access_key": settings.access_key,
            "secret_key": settings.secret_key.get_secret_value(),
        }
    return Minio(
        endpoint=host,
        secure=scheme == "https",
        region=settings.region,
        http_client=urllib3.PoolManager(timeout=_TIMEOUT, retries=_RETRIES),
        **keys,
    )


def _exists(client: Minio, *, bucket: str, prefix: str) -> bool:
    # A HEAD request has no body to tell a wrong key from a missing right; a listing has.
    within = f"{prefix}/" if prefix else None
    try:
        next(iter(client.list_objects(bucket_name=bucket, prefix=within)), None)
    except S3Error as exc:
        if exc.code == "NoSuchBucket":
            return False
        raise
    return True


def _set_retention(client: Minio, *, bucket: str, prefix: str, days: int | None) -> None:
    try:
        current = client.get_bucket_lifecycle(bucket_name=bucket)
    except S3Error as exc:
        if days is None and exc.code == "AccessDenied":
            return  # the lake's everyday user may not read the rules, and none is asked for
        raise
    rules = [rule for rule in (current.rules if current else []) if rule.rule_id != RETENTION_RULE]
    if days is not None:
        rules.append(
            Rule(
                status=ENABLED,
                rule_filter=Filter(prefix=prefix),
                rule_id=RETENTION_RULE,
                expiration=Expiration(days=days),
            )
        )
    if rules:
        client.set_bucket_lifecycle(bucket_name=bucket, config=LifecycleConfig(rules=rules))
    elif current:
        client.delete_bucket_lifecycle(bucket_name=bucket)


@contextmanager
def _translated(*, url: str) -> Iterator[None]:
    try:
        yield
    except S3Error as exc:
        raise ServiceError(
            f"lake {url}: {exc.code}: {exc.message}", hint=_HINTS.get(exc.code or "")
        ) from exc
    except ValueError as exc:
        raise ConfigError(f"TILLSTREAM_LAKE__URL or TILLSTREAM_LAKE__ENDPOINT: {exc}") from exc
    except (MinioException, urllib3.exceptions.HTTPError) as exc:
        raise ServiceError(
            f"lake {url}: no S3 server answers: {exc}", hint="correct TILLSTREAM_LAKE__ENDPOINT"
        ) from exc
