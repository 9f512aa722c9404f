"""What a query of the stream needs before it starts, and what it leaves behind at once."""

import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from pyspark.sql import SparkSession
from typer.testing import CliRunner

from clickhouse.client import Client, connect
from clickhouse.migrate import migrate
from clickhouse.queries import committed_cuts
from lake.archive import archive
from lake.client import connect as connect_lake
from producers.topics import TopicInspector
from streaming.jobs import LAKE, KafkaJob, as_records, lake_job
from streaming.schemas import Rules
from tests.builders import SALES_ID, judged, sold
from tillstream.cli.main import app
from tillstream.contracts.topics import Topic
from tillstream.errors import ServiceError
from tillstream.settings import KafkaSettings, LakeSettings, WarehouseSettings

if TYPE_CHECKING:
    from tests.fixtures.warehouse import WarehouseProcess

pytestmark = pytest.mark.integration


@pytest.fixture
def warehouse(warehouse_server: "WarehouseProcess") -> WarehouseSettings:
    settings = warehouse_server.settings(f"start_{uuid.uuid4().hex}")
    migrate(settings)
    return settings


class _WithoutPrices:
    """An inspector of a broker that has every topic but one."""

    def topic_ids(self, topics: Iterable[str]) -> dict[str, uuid.UUID]:
        return {topic: uuid.uuid4() for topic in topics if topic != Topic.PRICES}


def test_a_missing_topic_is_waited_for_not_left_out(tmp_path: Path) -> None:
    prepared: list[bool] = []
    job = KafkaJob(
        name="live",
        spark=cast("SparkSession", None),
        kafka=KafkaSettings(),
        inspector=cast("TopicInspector", _WithoutPrices()),
        schemas={},
        rules=Rules(),
        scratch=tmp_path,
        max_offsets=1,
        trigger_s=0,
        cuts=list,
        prepare=lambda: prepared.append(True),
        store=lambda *_: None,
    )
    with pytest.raises(ServiceError, match="retail-price-changes does not exist"):
        job.start()
    assert not prepared


def test_the_lake_query_tells_a_new_database_how_far_the_lake_is(
    warehouse: WarehouseSettings, tmp_path: Path
) -> None:
    lake = connect_lake(LakeSettings(), url=tmp_path.as_uri())
    archive(lake, as_records(judged(*(sold(offset) for offset in range(5)))))
    client: Client = connect(warehouse)
    cuts = lake_job(client=client, lake=lake, on_report=lambda _: None)["cuts"]()
    assert [(cut.topic_id, cut.partition, cut.next_offset) for cut in cuts] == [(SALES_ID, 0, 5)]
    assert committed_cuts(client, LAKE) == cuts
    client.close()


def test_dimensions_survive_export_and_load(warehouse: WarehouseSettings, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    (given / "dim_store.csv").write_text(
        "store_id,store_name,region,time_zone\n304,Main Street,North,America/Chicago\n",
        encoding="utf-8",
    )
    environment = {
        f"TILLSTREAM_WAREHOUSE__{name.upper()}": str(value)
        for name, value in {
            "host": warehouse.host,
            "port": warehouse.port,
            "user": warehouse.user,
            "password": warehouse.password.get_secret_value(),
            "database": warehouse.database,
        }.items()
    }

    def run(*arguments: str) -> str:
        home = ["--home", str(tmp_path)]
        result = CliRunner().invoke(app, [*home, *arguments], env=environment)
        assert result.exit_code == 0, result.output
        return result.output

    run("dimensions", "load", str(given))
    run("dimensions", "export", str(tmp_path / "saved"))
    run("sql", "TRUNCATE TABLE dim_store")
    assert "dim_store  1 rows" in run("dimensions", "load", str(tmp_path / "saved"))
    client: Client = connect(warehouse)
    rows = client.query("SELECT store_id, store_name, region, time_zone FROM dim_store FINAL")
    assert [tuple(row) for row in rows.result_rows] == [
        ("304", "Main Street", "North", "America/Chicago")
    ]
    client.close()
