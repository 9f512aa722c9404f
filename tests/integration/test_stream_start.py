"""What a query of the stream needs before it starts, and what it leaves behind at once."""

import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

import pytest
from pyspark.sql import SparkSession
from typer.testing import CliRunner

from clickhouse.client import Client, connect
from clickhouse.queries import Cut
from producers.topics import TopicInspector
from streaming.jobs import Destination, KafkaJob, Source
from streaming.schemas import Rules
from tests.fixtures.warehouse import WarehouseProcess, environment_of, own_database
from tillstream.cli.main import app
from tillstream.contracts.topics import Topic
from tillstream.errors import ServiceError
from tillstream.settings import KafkaSettings, WarehouseSettings

pytestmark = pytest.mark.integration


@pytest.fixture
def warehouse(warehouse_server: WarehouseProcess) -> Iterator[WarehouseSettings]:
    with own_database(warehouse_server, "start") as settings:
        yield settings


class _WithoutPrices:
    """An inspector of a broker that has every topic but one."""

    def topic_ids(self, topics: Iterable[str]) -> dict[str, uuid.UUID]:
        return {topic: uuid.uuid4() for topic in topics if topic != Topic.PRICES}


def test_a_missing_topic_is_waited_for_not_left_out(tmp_path: Path) -> None:
    opened: list[bool] = []
    job = KafkaJob(
        name="live",
        spark=cast("SparkSession", None),
        source=Source(KafkaSettings(), cast("TopicInspector", _WithoutPrices()), {}, Rules()),
        scratch=tmp_path,
        max_offsets=1,
        destination=cast("Destination", _Opened(opened)),
    )
    with pytest.raises(ServiceError, match="retail-price-changes does not exist"):
        job.start()
    assert not opened


class _Opened:
    failure = None

    def __init__(self, opened: list[bool]) -> None:
        self._opened = opened

    def open(self) -> list[Cut]:
        self._opened.append(True)
        return []


def test_dimensions_survive_export_and_load(warehouse: WarehouseSettings, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    (given / "dim_store.csv").write_text(
        "store_id,store_name,region,time_zone\n304,Main Street,North,America/Chicago\n",
        encoding="utf-8",
    )
    environment = environment_of(warehouse)

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
