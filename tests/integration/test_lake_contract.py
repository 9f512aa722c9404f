"""What the lake promises, on a local folder and on a real MinIO server alike."""

import errno
import pickle
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from minio import Minio
from minio.commonconfig import ENABLED, Filter
from minio.lifecycleconfig import Expiration, LifecycleConfig, Rule

from lake.archive import RECORD_SCHEMA, archive
from lake.bucket import RETENTION_RULE, prepare_bucket
from lake.client import Lake, connect
from lake.coverage import Damage, OffsetRange, Partition, coverage
from lake.paths import ObjectName
from lake.reader import read_ranges
from lake.retention import expire
from tillstream.contracts.topics import Topic
from tillstream.errors import ContractError, IntegrityError, ServiceError
from tillstream.settings import LakeSettings

if TYPE_CHECKING:
    from tests.fixtures.minio import MinioServer

pytest_plugins = ["tests.fixtures.minio"]
pytestmark = pytest.mark.integration

TOPIC_ID = "0b3c8a4e-6d2f-4a51-9c77-51e0d8c1f2aa"
REBORN_ID = "f6e2d1c0-1111-4222-8333-444455556666"
NOON = datetime(2025, 3, 9, 12, tzinfo=UTC)
TODAY = NOON.date()
SALES_0 = Partition(Topic.SALES, TOPIC_ID, 0)


@pytest.fixture(params=["folder", "minio"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    if request.param == "folder":
        made = connect(LakeSettings(), url=(tmp_path / "lake").as_uri())
    else:
        server: MinioServer = request.getfixturevalue("minio_server")
        url = f"s3://lake-{secrets.token_hex(6)}/chain"
        prepare_bucket(server.settings(), url=url)
        made = connect(server.settings(), url=url)
    made.check()
    return made


def records(
    first: int,
    last: int,
    *,
    topic: Topic = Topic.SALES,
    topic_id: str = TOPIC_ID,
    partition: int = 0,
    arrival: datetime = NOON,
    step: timedelta = timedelta(milliseconds=10),
) -> pa.Table:
    """Offsets first..last; the record of offset n arrives at `arrival + (n - first) * step`."""
    offsets = range(first, last + 1)
    return pa.table(
        {
            "topic": [topic.value] * len(offsets),
            "topic_id": [topic_id] * len(offsets),
            "partition": pa.array([partition] * len(offsets), pa.int32()),
            "offset": pa.array(offsets, pa.int64()),
            "arrival": pa.array(
                [arrival + (n - first) * step for n in offsets], pa.timestamp("ms", "UTC")
            ),
            "key": pa.array([b"store-1" if n % 2 else None for n in offsets], pa.binary()),
            "value": pa.array([b"\x00\xff value %d" % n for n in offsets], pa.binary()),
        }
    )


def name(
    first: int, last: int, *, topic_id: str = TOPIC_ID, partition: int = 0, on: date = TODAY
) -> ObjectName:
    return ObjectName(Topic.SALES, topic_id, partition, first, last, on)


def everything(lake: Lake, *, batch_rows: int = 1000) -> list[pa.Table]:
    return list(read_ranges(lake, batch_rows=batch_rows))


def test_object_reads_back_as_written(lake: Lake) -> None:
    table = records(0, 9)
    size = lake.write("raw-data/x.parquet", table)
    assert lake.read("raw-data/x.parquet").equals(table)
    assert lake.row_count("raw-data/x.parquet") == 10
    assert lake.exists("raw-data/x.parquet")
    assert [(one.name, one.size_bytes) for one in lake.list()] == [("raw-data/x.parquet", size)]


def test_writing_again_replaces(lake: Lake) -> None:
    lake.write("a/x.parquet", records(0, 9))
    lake.write("a/x.parquet", records(0, 4))
    assert lake.row_count("a/x.parquet") == 5
    assert len(lake.list()) == 1


def test_listing_is_sorted_and_below_its_prefix(lake: Lake) -> None:
    for one in ("b/2.parquet", "b/1.parquet", "a/1.parquet", "bb/1.parquet"):
        lake.write(one, records(0, 0))
    assert [one.name for one in lake.list("b")] == ["b/1.parquet", "b/2.parquet"]
    assert lake.list("nowhere") == ()


def test_deleting_twice_is_deleting_once(lake: Lake) -> None:
    lake.write("a/x.parquet", records(0, 0))
    lake.delete("a/x.parquet")
    lake.delete("a/x.parquet")
    assert not lake.exists("a/x.parquet")
    assert lake.list() == ()


def test_missing_object_is_named(lake: Lake) -> None:
    with pytest.raises(ServiceError, match=r"a/x\.parquet: there is no such object"):
        lake.read("a/x.parquet")
    with pytest.raises(ServiceError, match=r"a/x\.parquet"):
        lake.row_count("a/x.parquet")


def test_large_object_survives_multipart_upload(lake: Lake) -> None:
    noise = pa.table({"value": [secrets.token_bytes(12_000_000), secrets.token_bytes(12_000_000)]})
    assert lake.write("a/big.parquet", noise) > 20_000_000
    assert lake.read("a/big.parquet").equals(noise)


def test_lake_can_be_sent_to_another_process(lake: Lake) -> None:
    lake.write("a/x.parquet", records(0, 0))
    copy: Lake = pickle.loads(pickle.dumps(lake))
    assert copy.row_count("a/x.parquet") == 1


def test_batch_becomes_one_object_per_partition_and_arrival_date(lake: Lake) -> None:
    before_midnight = datetime(2025, 3, 9, 23, 59, 59, 990_000, tzinfo=UTC)
    batch = pa.concat_tables(
        [
            records(0, 9, arrival=before_midnight, step=timedelta(milliseconds=2)),
            records(7, 8, partition=1),
            records(0, 1, topic=Topic.PRICES),
        ]
    )
    shuffled = batch.take([13, 3, 9, 0, 12, 5, 11, 1, 8, 2, 10, 4, 7, 6])
    written = archive(lake, shuffled)
    assert [(str(one.name), one.rows) for one in written] == [
        (str(ObjectName(Topic.PRICES, TOPIC_ID, 0, 0, 1, NOON.date())), 2),
        (str(name(0, 4)), 5),
        (str(name(5, 9, on=date(2025, 3, 10))), 5),
        (str(name(7, 8, partition=1)), 2),
    ]
    assert lake.read(str(name(0, 4)))["offset"].to_pylist() == [0, 1, 2, 3, 4]
    assert {one.name for one in lake.list("raw-data")} == {str(one.name) for one in written}


def test_decoded_columns_are_archived_after_the_record(lake: Lake) -> None:
    batch = records(0, 2)
    decoded = batch.append_column("store_id", pa.array(["a", "b", None]))
    archive(lake, decoded.select(["store_id", *batch.column_names]))
    stored = lake.read(str(name(0, 2)))
    assert stored.column_names == [*RECORD_SCHEMA.names, "store_id"]
    assert stored["store_id"].to_pylist() == ["a", "b", None]


def test_hole_in_offsets_ends_an_object(lake: Lake) -> None:
    written = archive(lake, pa.concat_tables([records(0, 3), records(6, 7)]))
    assert [one.name for one in written] == [name(0, 3), name(6, 7)]


def test_archiving_a_batch_again_changes_nothing(lake: Lake) -> None:
    batch = records(0, 99)
    once = archive(lake, batch)
    listed = lake.list()
    assert archive(lake, batch.take(list(reversed(range(100))))) == once
    assert lake.list() == listed


def test_record_repeated_in_a_batch_is_written_once(lake: Lake) -> None:
    written = archive(lake, pa.concat_tables([records(0, 3), records(0, 3)]))
    assert [(one.name, one.rows) for one in written] == [(name(0, 3), 4)]


def test_two_records_at_one_coordinate_are_refused(lake: Lake) -> None:
    other = records(3, 3).set_column(6, "value", pa.array([b"other"], pa.binary()))
    with pytest.raises(IntegrityError, match="same topic, partition and offset"):
        archive(lake, pa.concat_tables([records(0, 3), other]))
    assert lake.list() == ()


def test_empty_batch_writes_nothing(lake: Lake) -> None:
    assert archive(lake, records(0, 3).slice(0, 0)) == []
    assert lake.list() == ()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda table: table.drop_columns(["key"]), "'key'"),
        (lambda table: table.set_column(0, "topic", pa.array(["x", "y"])), "topic x, y"),
        (lambda table: table.set_column(1, "topic_id", pa.array(["x", None])), "1 nulls"),
        (lambda table: table.set_column(3, "offset", pa.array(["x", "y"])), "'offset' is not"),
    ],
)
def test_records_of_the_wrong_shape_are_refused(
    tmp_path: Path, change: Callable[[pa.Table], pa.Table], complaint: str
) -> None:
    with pytest.raises(ContractError, match=complaint):
        archive(connect(LakeSettings(), url=str(tmp_path)), change(records(0, 1)))


def test_coverage_shows_ranges_gaps_and_overlaps(lake: Lake) -> None:
    for batch in (records(0, 9), records(10, 19), records(15, 24), records(30, 39)):
        archive(lake, batch)
    archive(lake, records(0, 4, topic_id=REBORN_ID))
    found = coverage(lake, count_rows=True)
    first, reborn = found.partitions
    assert first.partition == SALES_0
    assert first.ranges == (OffsetRange(0, 24), OffsetRange(30, 39))
    assert first.gaps == (OffsetRange(25, 29),)
    assert first.overlaps == (OffsetRange(15, 19),)
    assert (first.objects, first.records) == (4, 35)
    assert first.size_bytes == sum(
        one.size_bytes for one in lake.list("raw-data") if TOPIC_ID in one.name
    )
    assert reborn.partition == Partition(Topic.SALES, REBORN_ID, 0)
    assert reborn.ranges == (OffsetRange(0, 4),)
    assert (found.foreign, found.damaged) == ((), ())


def test_removed_object_is_a_gap(lake: Lake) -> None:
    for first in (0, 10, 20):
        archive(lake, records(first, first + 9))
    lake.delete(str(name(10, 19)))
    assert coverage(lake).partitions[0].gaps == (OffsetRange(10, 19),)


def test_foreign_objects_are_reported_and_not_read(lake: Lake) -> None:
    archive(lake, records(0, 1))
    lake.write("raw-data/sales/somebody-elses.parquet", records(0, 1))
    found = coverage(lake, count_rows=True)
    assert found.foreign == ("raw-data/sales/somebody-elses.parquet",)
    assert found.partitions[0].records == 2
    assert [table.num_rows for table in everything(lake)] == [2]


def test_object_that_breaks_its_names_promise_is_found(lake: Lake) -> None:
    archive(lake, records(0, 9))
    lake.write(str(name(10, 19)), records(10, 14))
    assert coverage(lake).damaged is None
    assert coverage(lake, count_rows=True).damaged == (Damage(str(name(10, 19)), 10, 5),)
    with pytest.raises(IntegrityError, match="before offset 15"):
        everything(lake)


def test_object_of_other_offsets_is_refused_by_readers(lake: Lake) -> None:
    lake.write(str(name(10, 19)), records(11, 20))
    with pytest.raises(IntegrityError, match="offset 10"):
        everything(lake)


def test_every_record_comes_back_once_as_it_was(lake: Lake) -> None:
    archive(lake, records(0, 9))
    archive(lake, records(5, 14, arrival=NOON + timedelta(milliseconds=50)))
    archive(lake, records(6, 8, arrival=NOON + timedelta(milliseconds=60)))
    archive(lake, records(20, 21, arrival=NOON + timedelta(days=1)))
    batches = everything(lake, batch_rows=4)
    assert max(batch.num_rows for batch in batches) <= 4
    together = pa.concat_tables(batches)
    expected = pa.concat_tables([records(0, 14), records(20, 21, arrival=NOON + timedelta(days=1))])
    assert together.cast(expected.schema).equals(expected)


def test_partitions_come_back_together_by_arrival(lake: Lake) -> None:
    for partition, start_s in ((0, 0), (1, 30), (2, 3600)):
        for first in (0, 50):
            begin = NOON + timedelta(seconds=start_s + first)
            archive(
                lake,
                records(
                    first,
                    first + 49,
                    partition=partition,
                    arrival=begin,
                    step=timedelta(seconds=1),
                ),
            )
    latest = datetime.min.replace(tzinfo=UTC)
    seen: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for batch in everything(lake, batch_rows=30):
        assert 0 < batch.num_rows <= 30
        arrivals = batch["arrival"].to_pylist()
        assert min(arrivals) >= latest
        latest = max(arrivals)
        for row in batch.select(["partition", "offset"]).to_pylist():
            seen[row["partition"]].append(row["offset"])
    assert seen == {partition: list(range(100)) for partition in range(3)}


@pytest.mark.parametrize("batch_rows", [4, 100])
def test_clock_set_back_keeps_offset_order(lake: Lake, batch_rows: int) -> None:
    archive(lake, records(0, 8))
    archive(lake, records(9, 9, arrival=NOON - timedelta(days=2)))
    archive(lake, records(0, 4, partition=1, arrival=NOON - timedelta(days=1)))
    batches = [
        batch for _, batch in zip(range(16), read_ranges(lake, batch_rows=batch_rows), strict=False)
    ]
    assert min(batch.num_rows for batch in batches) > 0
    together = pa.concat_tables(batches)
    mine = together.filter(pa.compute.field("partition") == 0)
    assert mine["offset"].to_pylist() == list(range(10))
    assert together.num_rows == 15


def test_more_partitions_than_batch_rows_still_reads(lake: Lake) -> None:
    for partition in range(4):
        archive(lake, records(0, 2, partition=partition))
    assert sum(table.num_rows for table in everything(lake, batch_rows=1)) == 12


def test_only_the_topics_asked_for_are_read(lake: Lake) -> None:
    archive(lake, pa.concat_tables([records(0, 1), records(0, 4, topic=Topic.PRICES)]))
    (batch,) = read_ranges(lake, batch_rows=100, topics=[Topic.PRICES])
    assert batch["topic"].to_pylist() == ["retail-price-changes"] * 5


def test_empty_lake_is_empty(lake: Lake) -> None:
    assert coverage(lake, count_rows=True).partitions == ()
    assert everything(lake) == []


def test_expiry_deletes_by_arrival_date(lake: Lake) -> None:
    archive(
        lake, pa.concat_tables([records(0, 1), records(2, 3, arrival=NOON + timedelta(days=1))])
    )
    assert expire(lake, before=date(2025, 3, 10)) == 1
    assert expire(lake, before=date(2025, 3, 10)) == 0
    assert coverage(lake).partitions[0].ranges == (OffsetRange(2, 3),)


# What only one of the two can get wrong.


def test_folder_ignores_what_a_killed_writer_left(tmp_path: Path) -> None:
    lake = connect(LakeSettings(), url=str(tmp_path))
    archive(lake, records(0, 1))
    beside = (tmp_path / str(name(0, 1))).parent / ".0123.tmp"
    beside.write_bytes(b"half an obj")
    assert len(lake.list()) == 1
    assert coverage(lake).foreign == ()


def test_failed_write_leaves_the_object_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = connect(LakeSettings(), url=str(tmp_path))
    lake.write("a/x.parquet", records(0, 9))

    def disk_full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", disk_full)
    with pytest.raises(ServiceError, match=r"writing a/x\.parquet.*No space left"):
        lake.write("a/x.parquet", records(0, 4))
    assert lake.row_count("a/x.parquet") == 10
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x.parquet"]


def test_reader_sees_whole_objects_while_they_are_replaced(tmp_path: Path) -> None:
    lake = connect(LakeSettings(), url=str(tmp_path))
    lake.write("a/x.parquet", records(0, 0))
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(
            lambda: [lake.write("a/x.parquet", records(0, n * 50)) for n in range(40)]
        )
        rows = set()
        while not writing.done():
            rows.add(lake.read("a/x.parquet").num_rows)
        writing.result()
    assert rows <= {n * 50 + 1 for n in range(40)}


def test_object_that_is_not_parquet_is_damaged(tmp_path: Path) -> None:
    lake = connect(LakeSettings(), url=str(tmp_path))
    archive(lake, records(0, 1))
    (tmp_path / str(name(0, 1))).write_bytes(b"PAR1 nothing like it PAR1")
    with pytest.raises(IntegrityError, match="is damaged"):
        lake.read(str(name(0, 1)))
    assert coverage(lake, count_rows=True).damaged == (Damage(str(name(0, 1)), 2, None),)


@pytest.mark.parametrize("at_share", [0.01, 0.25, 0.5, 0.75])
def test_one_flipped_byte_is_noticed(tmp_path: Path, at_share: float) -> None:
    lake = connect(LakeSettings(), url=str(tmp_path))
    archive(lake, records(0, 999))
    path = tmp_path / str(name(0, 999))
    content = bytearray(path.read_bytes())
    content[int(len(content) * at_share)] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(IntegrityError, match="is damaged"):
        everything(lake)


def test_unwritable_folder_is_a_service_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ServiceError, match="opening the folder"):
        connect(LakeSettings(), url=str(tmp_path / "file" / "lake")).check()


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        ({"access_key": "nobody"}, "TILLSTREAM_LAKE__ACCESS_KEY"),
        ({"secret_key": "not the secret"}, "TILLSTREAM_LAKE__SECRET_KEY"),
        ({"endpoint": "http://127.0.0.1:1"}, "TILLSTREAM_LAKE__ENDPOINT"),
    ],
)
def test_wrong_setting_is_named(
    minio_server: "MinioServer", change: dict[str, str], setting: str
) -> None:
    url = f"s3://lake-{secrets.token_hex(6)}"
    prepare_bucket(minio_server.settings(), url=url)
    wrong = minio_server.settings(**change)
    with pytest.raises(ServiceError) as refused:
        connect(wrong, url=url).check()
    assert setting in (refused.value.hint or "")
    with pytest.raises(ServiceError) as refused:
        prepare_bucket(wrong, url=url)
    assert setting in (refused.value.hint or "")


def test_missing_bucket_is_never_an_empty_lake(minio_server: "MinioServer") -> None:
    lake = connect(minio_server.settings(), url="s3://nobody-made-this/chain")
    for attempt in (lake.check, lake.list, lambda: lake.write("x.parquet", records(0, 0))):
        with pytest.raises(ServiceError, match="bucket does not exist") as refused:
            attempt()
        assert "TILLSTREAM_LAKE__URL" in (refused.value.hint or "")


def test_preparing_a_bucket_sets_retention_beside_other_rules(minio_server: "MinioServer") -> None:
    bucket = f"lake-{secrets.token_hex(6)}"
    url = f"s3://{bucket}/chain"
    client = Minio(
        endpoint=minio_server.endpoint.removeprefix("http://"),
        access_key=minio_server.access_key,
        secret_key=minio_server.secret_key,
        secure=False,
    )
    assert prepare_bucket(minio_server.settings(), url=url).created
    others = Rule(
        ENABLED,
        rule_filter=Filter(prefix="elsewhere/"),
        rule_id="others",
        expiration=Expiration(days=3),
    )
    client.set_bucket_lifecycle(bucket_name=bucket, config=LifecycleConfig(rules=[others]))

    def rules() -> dict[str | None, tuple[str | None, int | None]]:
        found = client.get_bucket_lifecycle(bucket_name=bucket)
        assert found is not None
        return {
            rule.rule_id: (
                rule.rule_filter.prefix if rule.rule_filter else None,
                rule.expiration.days if rule.expiration else None,
            )
            for rule in found.rules
        }

    for _ in range(2):
        again = prepare_bucket(minio_server.settings(retention_days=30), url=url)
        assert not again.created
        assert rules() == {
            "others": ("elsewhere/", 3),
            RETENTION_RULE: ("chain/raw-data/", 30),
        }
    prepare_bucket(minio_server.settings(), url=url)
    assert rules() == {"others": ("elsewhere/", 3)}
