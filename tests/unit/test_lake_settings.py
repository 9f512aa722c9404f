"""What a lake can be told, and how it answers a setting that makes no sense."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from lake.bucket import service_policies
from lake.client import connect, split_endpoint, split_s3_url
from lake.coverage import OffsetRange, merge
from tillstream.errors import ConfigError
from tillstream.settings import LakeSettings


@pytest.mark.parametrize("form", ["{0}", "file://{0}"])
def test_folder_url_is_the_folder(tmp_path: Path, form: str) -> None:
    lake = connect(LakeSettings(), url=form.format(tmp_path / "a lake"))
    assert lake.folder == tmp_path / "a lake"
    assert not (tmp_path / "a lake").exists()


def test_escaped_folder_url_is_unescaped(tmp_path: Path) -> None:
    folder = tmp_path / "a lake"
    assert connect(LakeSettings(), url=folder.as_uri()).folder == folder


@pytest.mark.parametrize("url", ["", "http://host/x", "s3://", "file://host/x", "s3:///prefix"])
def test_url_that_makes_no_sense_names_its_setting(url: str) -> None:
    with pytest.raises(ConfigError, match="TILLSTREAM_LAKE__URL"):
        connect(LakeSettings(), url=url)


@pytest.mark.parametrize("endpoint", ["ftp://host", "http://", "http://host/path"])
def test_endpoint_that_makes_no_sense_names_its_setting(endpoint: str) -> None:
    with pytest.raises(ConfigError, match="TILLSTREAM_LAKE__ENDPOINT"):
        connect(LakeSettings(endpoint=endpoint), url="s3://bucket")


def test_half_a_key_pair_is_refused() -> None:
    with pytest.raises(ConfigError, match="TILLSTREAM_LAKE__SECRET_KEY"):
        connect(LakeSettings(access_key="somebody"), url="s3://bucket")
    with pytest.raises(ConfigError, match="TILLSTREAM_LAKE__ACCESS_KEY"):
        connect(LakeSettings(secret_key=SecretStr("x")), url="s3://bucket")


def test_s3_urls_and_endpoints_split() -> None:
    assert split_s3_url("s3://bucket") == ("bucket", "")
    assert split_s3_url("s3://bucket/a/b/") == ("bucket", "a/b")
    assert split_endpoint("http://minio:9000") == ("http", "minio:9000")
    assert split_endpoint("s3.example.com") == ("https", "s3.example.com")


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../outside", "a/../../b"])
def test_name_outside_the_root_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="below the lake's root"):
        connect(LakeSettings(), url=str(tmp_path)).exists(name)


def test_policies_allow_only_what_a_service_does() -> None:
    policies = service_policies("s3://bucket/chain")
    listing, objects = policies["stream"]["Statement"]
    assert listing["Action"] == ["s3:ListBucket"]
    folder = "chain/raw-data/"
    assert listing["Condition"] == {"StringLike": {"s3:prefix": [folder, f"{folder}*"]}}
    assert objects["Action"] == ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
    assert objects["Resource"] == ["arn:aws:s3:::bucket/chain/raw-data/*"]
    listing, objects = service_policies("s3://bucket")["analyst"]["Statement"]
    assert "Condition" not in listing
    assert objects["Action"] == ["s3:GetObject"]
    assert objects["Resource"] == ["arn:aws:s3:::bucket/*"]


def test_touching_and_overlapping_ranges_merge() -> None:
    ranges = [OffsetRange(5, 9), OffsetRange(0, 4), OffsetRange(12, 14), OffsetRange(13, 13)]
    assert merge(ranges) == (OffsetRange(0, 9), OffsetRange(12, 14))
    assert [len(one) for one in merge(ranges)] == [10, 3]
