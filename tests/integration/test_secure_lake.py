"""The lake on S3 over TLS: what each service's key may do, and how a refusal is told."""

import json
import secrets
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
import urllib3
from minio import MinioAdmin
from minio.credentials.providers import StaticProvider
from pydantic import SecretStr

from lake.archive import archive
from lake.bucket import prepare_bucket, service_policies
from lake.client import Lake, connect
from lake.coverage import coverage
from lake.models import Registry
from lake.retention import expire
from streaming.archiving import as_records
from tests.builders import judged, sold
from tests.fixtures.certificates import Authority
from tests.fixtures.warehouse import free_port
from tillstream.errors import ConfigError, ServiceError
from tillstream.settings import LakeSettings

if TYPE_CHECKING:
    from tests.fixtures.minio import MinioServer

pytestmark = pytest.mark.integration

Keys = Callable[[str], LakeSettings]
TABLE = pa.table({"a": [1]})


@pytest.fixture(params=["", "/chain"], ids=["bucket", "prefix"])
def url(request: pytest.FixtureRequest, secure_minio: "MinioServer") -> str:
    url = f"s3://lake-{secrets.token_hex(6)}{request.param}"
    assert prepare_bucket(secure_minio.settings(), url=url).created
    return url


@pytest.fixture
def key_of(secure_minio: "MinioServer", url: str, tmp_path: Path) -> Keys:
    """Settings with the key of a service, which may do what its policy says."""
    admin = MinioAdmin(
        endpoint=secure_minio.endpoint.removeprefix("https://"),
        credentials=StaticProvider(secure_minio.access_key, secure_minio.secret_key),
        http_client=urllib3.PoolManager(ca_certs=str(secure_minio.ca_file)),
    )

    def make(service: str) -> LakeSettings:
        user, password = secrets.token_hex(8), secrets.token_hex(20)
        document = tmp_path / f"{service}.json"
        document.write_text(json.dumps(service_policies(url)[service]))
        admin.user_add(user, password)
        admin.policy_add(user, policy_file=str(document))
        admin.attach_policy([user], user=user)
        return secure_minio.settings(access_key=user, secret_key=password)

    return make


def refused(act: Callable[[], object]) -> None:
    with pytest.raises(ServiceError, match="the access key is not allowed to do this") as caught:
        act()
    assert "TILLSTREAM_LAKE__ACCESS_KEY" in (caught.value.hint or "")


def archived(settings: LakeSettings, url: str) -> Lake:
    lake = connect(settings, url=url)
    lake.check()
    archive(lake, as_records(judged(*(sold(offset) for offset in range(5)))))
    return lake


def test_the_streams_key_adds_and_reads_records_and_nothing_else(
    secure_minio: "MinioServer", key_of: Keys, url: str
) -> None:
    stream = key_of("stream")
    assert not prepare_bucket(stream, url=url).created
    lake = archived(stream, url)
    (held,) = coverage(lake).partitions
    assert [(one.first, one.last) for one in held.ranges] == [(0, 4)]
    (kept,) = lake.list("raw-data")
    assert lake.row_count(kept.name) == 5

    root = connect(secure_minio.settings(), url=url)
    root.write("models/demand-forecast/v1/x.parquet", TABLE)
    refused(lambda: lake.delete(kept.name))
    refused(lambda: lake.write("models/demand-forecast/v1/x.parquet", TABLE))
    refused(lambda: lake.read("models/demand-forecast/v1/x.parquet"))
    refused(lambda: lake.list("models"))
    refused(connect(stream, url=f"{url}-other").check)
    with pytest.raises(ServiceError, match="AccessDenied"):
        prepare_bucket(stream, url=f"{url.replace('lake-', 'new-')}")


def test_the_nights_key_forgets_records_and_keeps_models(
    secure_minio: "MinioServer", key_of: Keys, url: str
) -> None:
    nights = key_of("nights")
    lake = archived(nights, url)
    (kept,) = lake.list("raw-data")
    assert expire(lake, before=date(9999, 1, 1)) == 1
    assert not lake.exists(kept.name)
    registry = Registry(lake, "demand-forecast")
    for number in range(4):
        registry.save({}, {"trees.ubj": b"%d" % number})
    registry.promote(1)
    assert registry.expire(keep=2) == [2]
    assert registry.versions() == [1, 3, 4]
    with pytest.raises(ServiceError, match="AccessDenied"):
        prepare_bucket(nights, url=f"{url.replace('lake-', 'new-')}")


def test_an_analysts_key_reads_the_lake_and_changes_nothing(
    secure_minio: "MinioServer", key_of: Keys, url: str
) -> None:
    archived(secure_minio.settings(), url)
    lake = connect(key_of("analyst"), url=url)
    lake.check()
    (kept,) = lake.list("raw-data")
    assert lake.read(kept.name).num_rows == 5
    refused(lambda: lake.write(kept.name, TABLE))
    refused(lambda: lake.write("features/x.parquet", TABLE))
    refused(lambda: lake.delete(kept.name))


Wrong = Callable[["MinioServer", Path], LakeSettings]

# What is wrong -> what is said -> the setting that is named.
REFUSALS: dict[str, tuple[Wrong, str, str]] = {
    "secret key": (
        lambda server, _: server.settings(secret_key=SecretStr("guess-guess")),
        "the secret key does not belong to the access key",
        "TILLSTREAM_LAKE__SECRET_KEY",
    ),
    "access key": (
        lambda server, _: server.settings(access_key="nobody"),
        "the server does not know this access key",
        "TILLSTREAM_LAKE__ACCESS_KEY",
    ),
    "host": (
        lambda server, _: server.settings(endpoint="https://no.invalid"),
        "no.invalid:443 does not answer: no machine is called no.invalid",
        "TILLSTREAM_LAKE__ENDPOINT",
    ),
    "port": (
        lambda server, _: server.settings(endpoint=f"https://127.0.0.1:{free_port()}"),
        "does not answer: connection refused",
        "TILLSTREAM_LAKE__ENDPOINT",
    ),
    "plain text to a TLS port": (
        lambda server, _: server.settings(endpoint=server.endpoint.replace("https", "http")),
        "cannot be used: it speaks TLS, and the settings say plain text",
        "TILLSTREAM_LAKE__ENDPOINT (http:// or https://)",
    ),
    "unknown authority": (
        lambda server, folder: server.settings(ca_file=Authority(folder).ca_file),
        "cannot be used: its certificate is not trusted by the authority in",
        "TILLSTREAM_LAKE__CA_FILE",
    ),
    "no authority": (
        lambda server, _: server.settings(ca_file=None),
        "cannot be used: its certificate is not trusted by the system",
        "TILLSTREAM_LAKE__CA_FILE",
    ),
    "another name": (
        lambda server, _: server.settings(
            endpoint=server.endpoint.replace("127.0.0.1", "localhost")
        ),
        "cannot be used: its certificate is not for localhost",
        "TILLSTREAM_LAKE__ENDPOINT",
    ),
}


@pytest.mark.parametrize("wrong", REFUSALS)
def test_a_wrong_setting_is_told_in_one_sentence(
    secure_minio: "MinioServer", tmp_path: Path, wrong: str
) -> None:
    settings, said, setting = REFUSALS[wrong]
    with pytest.raises(ServiceError) as caught:
        connect(settings(secure_minio, tmp_path), url="s3://lake-of-nobody").check()
    assert str(caught.value).startswith("lake s3://lake-of-nobody: listing raw-data: ")
    assert said in str(caught.value)
    assert setting in (caught.value.hint or "")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [one for one in REFUSALS if not one.endswith("key")])
def test_preparing_the_bucket_tells_the_same(
    secure_minio: "MinioServer", tmp_path: Path, wrong: str
) -> None:
    settings, said, setting = REFUSALS[wrong]
    with pytest.raises(ServiceError) as caught:
        prepare_bucket(settings(secure_minio, tmp_path), url="s3://lake-of-nobody")
    assert said in str(caught.value)
    assert setting in (caught.value.hint or "")


def test_tls_to_a_plain_text_port_is_told(minio_server: "MinioServer") -> None:
    settings = minio_server.settings(endpoint=minio_server.endpoint.replace("http", "https"))
    with pytest.raises(ServiceError, match="it does not speak TLS") as caught:
        connect(settings, url="s3://lake-of-nobody").check()
    assert "TILLSTREAM_LAKE__ENDPOINT" in (caught.value.hint or "")


def test_a_ca_file_that_is_not_there_is_named(secure_minio: "MinioServer", tmp_path: Path) -> None:
    settings = secure_minio.settings(ca_file=tmp_path / "missing.pem")
    with pytest.raises(ConfigError, match="TILLSTREAM_LAKE__CA_FILE: there is no file"):
        connect(settings, url="s3://lake-of-nobody").check()
