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

from lake.client import endpoint_of, split_endpoint, split_s3_url
from lake.failures import no_answer
from lake.paths import RAW_PREFIX
from tillstream.errors import ConfigError, ServiceError
from tillstream.settings import LakeSettings

RETENTION_RULE = "tillstream-raw-retention"

# Aborting: an object that is sent in parts and fails must not leave them behind, unseen and paid.
_STREAM_ACTIONS = ("AbortMultipartUpload", "GetObject", "PutObject")
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
    with _translated(settings, url=url):
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


def service_policies(url: str) -> dict[str, dict[str, Any]]:
    """The IAM policy of each service's key, by service; deploy/minio/ has them as files.

    The stream adds and reads records, and cannot remove one. The nights merge and forget objects,
    and keep features and models. An analyst reads the whole lake and changes nothing. None sees
    anything else of the account.
    """
    bucket, prefix = split_s3_url(url)
    root = f"{prefix}/" if prefix else ""
    return {
        "stream": _policy(bucket, f"{root}{RAW_PREFIX}", *_STREAM_ACTIONS),
        "nights": _policy(bucket, root, *_STREAM_ACTIONS, "DeleteObject"),
        "analyst": _policy(bucket, root, "GetObject"),
    }


def _policy(bucket: str, folder: str, *actions: str) -> dict[str, Any]:
    listing: dict[str, Any] = {
        "Effect": "Allow",
        "Action": ["s3:ListBucket"],
        "Resource": [f"arn:aws:s3:::{bucket}"],
    }
    if folder:
        listing["Condition"] = {"StringLike": {"s3:prefix": [folder, f"{folder}*"]}}
    objects = {
        "Effect": "Allow",
        "Action": [f"s3:{action}" for action in actions],
        "Resource": [f"arn:aws:s3:::{bucket}/{folder}*"],
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
        http_client=urllib3.PoolManager(
            timeout=_TIMEOUT,
            retries=_RETRIES,
            ca_certs=str(settings.ca_file) if settings.ca_file else None,
        ),
        **keys,
    )


def _exists(client: Minio, *, bucket: str, prefix: str) -> bool:
    # A HEAD request has no body to tell a wrong key from a missing right; a listing has.
    # Where the everyday user may look, too.
    within = f"{prefix}/{RAW_PREFIX}".lstrip("/")
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
def _translated(settings: LakeSettings, *, url: str) -> Iterator[None]:
    try:
        yield
    except S3Error as exc:
        raise ServiceError(
            f"lake {url}: {exc.code}: {exc.message}", hint=_HINTS.get(exc.code or "")
        ) from exc
    except ValueError as exc:
        raise ConfigError(f"TILLSTREAM_LAKE__URL or TILLSTREAM_LAKE__ENDPOINT: {exc}") from exc
    except (MinioException, urllib3.exceptions.HTTPError, OSError) as exc:
        raise no_answer(endpoint_of(settings), url=url, doing="preparing the bucket") from exc
