"""Why an item has its risk: every number, and the records it came from."""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clickhouse.client import Client, connect
from producers.memory import MemoryPublisher
from streaming.sinks import WarehouseSink
from streaming.watch import StockWatch
from tests.builders import AT, CODEC, TOPIC_IDS, decoded, moved, sold
from tests.fixtures.warehouse import WarehouseProcess, environment_of, own_database
from tillstream.cli.main import app
from tillstream.clock import FakeClock
from tillstream.errors import ConfigError
from tillstream.settings import RiskSettings, WarehouseSettings
from tillstream.watching.explain import explain
from tillstream.watching.explain_words import sentences

pytestmark = pytest.mark.integration

RULES = RiskSettings(lead_time_days=2.0, default_daily_units=4.0, prior_weight_days=7.0)
CLOCK = FakeClock(round((AT + timedelta(days=3000)).timestamp() * 1000))
ITEM = ("304", "1095275")


@pytest.fixture
def warehouse(warehouse_server: WarehouseProcess) -> Iterator[WarehouseSettings]:
    with own_database(warehouse_server, "explain") as own:
        yield own


@pytest.fixture
def client(warehouse: WarehouseSettings) -> Iterator[Client]:
    with closing(connect(warehouse)) as client:
        yield client


@pytest.fixture
def sink(client: Client) -> Iterator[WarehouseSink]:
    publisher = MemoryPublisher(CODEC, customer_key=b"a key for tests")
    sink = WarehouseSink(client, followers=(StockWatch(client, RULES, publisher, clock=CLOCK),))
    sink.open()
    yield sink
    sink.close()


def write(sink: WarehouseSink, *rows: dict[str, object]) -> None:
    sink.write(decoded(*rows), TOPIC_IDS, batch_id=0)


def words(client: Client) -> dict[str, str]:
    return dict(sentences(explain(client, RULES, *ITEM)))


def test_each_number_has_the_records_it_came_from(client: Client, sink: WarehouseSink) -> None:
    write(sink, moved(0, quantity_on_hand=9), sold(0, quantity=1, event_time=AT))
    write(sink, sold(1, quantity=10, event_time=AT + timedelta(days=2)))
    found = explain(client, RULES, *ITEM)
    assert found.score is not None
    assert found.sales is not None
    assert (found.stock.on_hand, str(found.stock.record)) == (9, "retail-inventory-updates:0:0")
    assert (found.sales.lines, found.sales.units) == (2, 11)
    assert [str(one) for one in found.sales.records] == ["retail-sales-transactions:0:0-1"]
    assert found.sales.units == found.score.evidence_units
    assert (found.prior.daily_units, found.prior.given) == (4.0, False)
    said = words(client)
    assert said["stock"].startswith("9 on hand, says the report of")
    assert "11 units sold in 2 purchases" in said["demand"]
    assert "nothing was known before, so 4.0 a day is taken for granted" in said["demand"]
    assert "the supplier takes 2 days, and is late with 5% of orders" in said["supply"]
    assert said["supply"].endswith("nothing is known to come before")
    assert said["assumed"].startswith("a lead time of 2.0 days, as the supplier's is not known")


def test_an_alert_says_what_opened_it_and_what_would_end_it(
    client: Client, sink: WarehouseSink
) -> None:
    write(sink, moved(0, quantity_on_hand=2))
    assert words(client)["alert"].startswith("open since ")
    assert "the risk reached 60%; it ends at 30% or less" in words(client)["alert"]
    write(sink, moved(1, quantity_on_hand=40))
    assert "below the 60% that open one; the last one ended" in words(client)["alert"]


def test_no_alert_is_explained_too(client: Client, sink: WarehouseSink) -> None:
    write(sink, moved(0, quantity_on_hand=50))
    assert words(client)["alert"] == "none: less than 1% is below the 60% that open one"


def test_what_was_known_before_is_told_apart_from_a_default(
    client: Client, sink: WarehouseSink
) -> None:
    client.command(
        "INSERT INTO demand_prior (store_id, product_id, daily_units, dispersion, lead_time_days)"
        " VALUES ('304', '1095275', 0.05, 2.0, 5.0)"
    )
    write(sink, moved(0, quantity_on_hand=9))
    assert "before that 1.5 a month" in words(client)["demand"]


def test_a_shelf_without_a_score_says_so(client: Client) -> None:
    sink = WarehouseSink(client)
    sink.open()
    write(sink, moved(0, quantity_on_hand=9))
    sink.close()
    assert words(client)["risk"] == "not scored yet: the stream has not come to it"


def test_an_item_nobody_reported_is_an_error_that_says_where_to_look(client: Client) -> None:
    with pytest.raises(ConfigError, match="no stock of product nothing") as found:
        explain(client, RULES, "304", "nothing")
    assert "current_stock" in (found.value.hint or "")


def test_the_command_prints_and_tells(
    warehouse: WarehouseSettings, sink: WarehouseSink, tmp_path: Path
) -> None:
    write(sink, moved(0, quantity_on_hand=3), sold(0, quantity=1, event_time=AT))
    environment = environment_of(warehouse)

    def run(*arguments: str) -> str:
        home = ["--home", str(tmp_path), "explain", *ITEM]
        result = CliRunner().invoke(app, [*home, *arguments], env=environment)
        assert result.exit_code == 0, result.output
        return result.output

    assert "1095275 at store 304" in run()
    assert json.loads(run("--json"))["stock"]["on_hand"] == 3


def test_an_item_that_sells_now_and_then_is_called_so(client: Client, sink: WarehouseSink) -> None:
    """One unit on every fourth of 20 days; on the 21st it is scored."""
    write(sink, moved(0, quantity_on_hand=9, event_time=AT))
    days = [1, 5, 9, 13, 17, 21]
    write(
        sink,
        *(sold(n, quantity=1, event_time=AT + timedelta(days=at)) for n, at in enumerate(days)),
    )
    seen = explain(client, RULES, *ITEM).sale_days
    assert seen is not None
    assert (seen.days, seen.sold_on, seen.pattern) == (21, 5, "intermittent")
    assert 0.15 < seen.daily_units < 0.3
    assert (
        "; sold on 5 of the last 21 days, now and then, and by those alone"
        in (words(client)["demand"])
    )


def test_an_item_new_to_the_shelf_has_no_pattern(client: Client, sink: WarehouseSink) -> None:
    write(sink, moved(0, quantity_on_hand=9), sold(0, quantity=1, event_time=AT))
    assert explain(client, RULES, *ITEM).sale_days is None
