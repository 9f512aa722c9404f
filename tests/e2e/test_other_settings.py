"""The same code with other settings: the lake on S3, and a low limit on bad events."""

import json
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from kafka import KafkaProducer

from tests.fixtures.platform import Platform, new_platform, wait_for
from tillstream.cli.rebuild import Source
from tillstream.contracts.topics import Topic
from tillstream.devstack.parts import Part
from tillstream.devstack.stack import Stack

if TYPE_CHECKING:
    from tests.fixtures.minio import MinioServer

pytestmark = [pytest.mark.e2e, pytest.mark.integration]


@pytest.fixture(scope="module")
def on_s3(
    minio_server: "MinioServer", tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    """A home whose settings file names an S3 bucket, as a user would write it."""
    home = tmp_path_factory.mktemp("s3")
    (home / "tillstream.toml").write_text(
        f"""
[lake]
url = "s3://archive/chain"
endpoint = "{minio_server.endpoint}"
access_key = "{minio_server.access_key}"
secret_key = "{minio_server.secret_key}"
""",
        encoding="utf-8",
    )
    platform = new_platform(home, bad_share_min_events=500)
    try:
        platform.up()
        yield platform
    finally:
        platform.down()


def test_a_lake_on_s3_archives_everything_and_rebuilds_the_warehouse(on_s3: Platform) -> None:
    on_s3.replay(date(2017, 11, 24), 1, stores="20")
    on_s3.catch_up()
    audit = on_s3.audit(ledgers=on_s3.ledgers)
    assert audit.clean, audit.checks
    assert sum(row.lake_records for row in audit.partitions) > 1000
    assert not (on_s3.home / "lake").exists()
    on_s3.rebuild(Source.LAKE, into="from_s3")
    assert on_s3.digests("from_s3") == on_s3.digests()


def test_too_many_bad_events_stop_the_stream_loudly_and_lose_nothing(on_s3: Platform) -> None:
    producer = KafkaProducer(bootstrap_servers=on_s3.settings.kafka.bootstrap, acks="all")
    for _ in range(8_000):
        producer.send(Topic.SALES.value, value=b"garbage", key=b"1")
    producer.flush()
    producer.close()
    report = on_s3.home / "run" / "stream.json"
    wait_for(
        lambda: json.loads(report.read_text(encoding="utf-8"))["state"] == "failed",
        timeout_s=90,
        what="the stream stops",
    )
    state = json.loads(report.read_text(encoding="utf-8"))
    assert "records were refused" in state["queries"]["live"]["reason"]
    wait_for(lambda: _stream_state(on_s3) != "running", timeout_s=60, what="the process ends")
    log = _log(on_s3)
    assert "INFO tillstream.stream live batch" in log
    assert "BAD_SHARE_LIMIT" in log
    # How many it had read by then depends on where a batch ended.
    told = re.search(r"ERROR tillstream\.stream live gave up: (\d+) of", log)
    assert told is not None
    refused = int(told[1])
    assert 500 <= refused <= 8_000
    # What was refused is stored all the same, with its reason.
    with on_s3.client() as client:
        stored = client.query("SELECT reason, count() FROM quarantine GROUP BY reason").result_rows
    assert [tuple(row) for row in stored] == [("bad_magic_byte", refused)]
    assert on_s3.audit().clean


def _stream_state(platform: Platform) -> str:
    return next(
        part.state for part in Stack(platform.settings).status() if part.name == Part.STREAM
    )


def _log(platform: Platform) -> str:
    return Path(platform.home / "logs" / "stream.log").read_text(encoding="utf-8")
