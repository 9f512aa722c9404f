"""`tillstream plan` and `what-if`: what they print, write and refuse, without a warehouse."""

import io
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner, Result

import clickhouse.client
from tests.unit.test_planning import MILK, SOAP
from tillstream.cli import plan as command
from tillstream.errors import ConfigError, ServiceError
from tillstream.planning import reading, regions
from tillstream.planning.items import ITEMS
from tillstream.planning.reading import Place
from tillstream.settings import load_settings

# 03:00 UTC is still the day before in New York.
NEWEST = datetime(2026, 3, 11, 3, tzinfo=UTC)
ROWS = [MILK, SOAP, {**SOAP, "store_id": "S2", "on_hand": 30.0}, {**MILK, "store_id": "S3"}]


@pytest.fixture
def cli(tmp_path: Path) -> typer.Typer:
    """The commands in a home where nothing runs."""
    app = typer.Typer()

    @app.callback()
    def root(ctx: typer.Context) -> None:
        ctx.obj = load_settings(home=tmp_path, warehouse={"port": 1})

    command.register(app)
    return app


@pytest.fixture
def shops(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], list[str] | None]]:
    """Three stores to read, S1 and S2 near each other; the answer is what has been read."""
    asked: list[tuple[list[str], list[str] | None]] = []

    def read_items(
        client: object, stores: Sequence[str], *, products: Sequence[str] | None = None
    ) -> pa.Table:
        asked.append((list(stores), None if products is None else list(products)))
        rows = [row for row in ROWS if row["store_id"] in stores]
        rows = [row for row in rows if products is None or row["product_id"] in products]
        return pa.Table.from_pylist(rows, schema=ITEMS)

    places = [
        Place("S1", "North", "America/New_York"),
        Place("S2", "North", "America/New_York"),
        Place("S3", "", ""),
    ]

    class Closable:
        def close(self) -> None: ...

    monkeypatch.setattr(clickhouse.client, "connect", lambda warehouse: Closable())
    for module in (regions, reading):
        monkeypatch.setattr(module, "read_items", read_items)
        monkeypatch.setattr(module, "places", lambda client: places)
        monkeypatch.setattr(module, "newest_score", lambda client: NEWEST)
    return asked


def run(cli: typer.Typer, *arguments: str) -> Result:
    result = CliRunner().invoke(cli, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def rows_of(cli: typer.Typer, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(cli, "plan", "--json", *arguments).output)
    return found


def test_plan_of_a_store_looks_nearby_for_what_it_is_short_of(
    cli: typer.Typer, shops: list[tuple[list[str], list[str] | None]]
) -> None:
    found = rows_of(cli, "--store", "S1")
    assert [(row["product_id"], row["action"], row["from_store_id"]) for row in found] == [
        ("P2", "transfer", "S2"),
        ("P1", "order", None),
    ]
    assert shops == [(["S1"], None), (["S2"], ["P1", "P2"])]


@pytest.mark.usefixtures("shops")
def test_plan_of_all_stores_goes_region_by_region(
    cli: typer.Typer, shops: list[tuple[list[str], list[str] | None]]
) -> None:
    found = rows_of(cli)
    assert [row["store_id"] for row in found] == ["S3", "S1", "S1"]
    assert shops == [(["S3"], None), (["S1", "S2"], None)]
    assert found[1:] == rows_of(cli, "--store", "S1")


@pytest.mark.usefixtures("shops")
def test_days_are_those_of_the_store(cli: typer.Typer) -> None:
    """It is Tuesday evening in New York: tomorrow's orders are Wednesday's, and come on Friday."""
    near, unknown = (rows_of(cli, "--store", store)[-1]["reason"] for store in ("S1", "S3"))
    assert "12 due tomorrow; lasts until Monday" in near
    assert "12 due today; lasts until Monday" in unknown
    same = rows_of(cli, "--store", "S1", "--date", "2026-03-11")
    assert same == rows_of(cli, "--store", "S1")


@pytest.mark.usefixtures("shops")
def test_later_day_orders_more(cli: typer.Typer) -> None:
    soon, later = (
        rows_of(cli, "--store", "S3", "--date", day)[0] for day in ("2026-03-12", "2026-03-16")
    )
    assert later["order_up_to"] > soon["order_up_to"]


@pytest.mark.usefixtures("shops")
def test_exports_hold_what_json_tells(cli: typer.Typer, tmp_path: Path) -> None:
    csv, parquet = tmp_path / "orders.csv", tmp_path / "orders.parquet"
    told = run(cli, "plan", "--csv", str(csv), "--parquet", str(parquet))
    assert told.stdout == ""
    assert "3 suggestions in" in told.stderr
    expected = rows_of(cli)
    assert pq.read_table(parquet).to_pylist() == expected
    read = pyarrow.csv.read_csv(csv)
    assert read["reason"].to_pylist() == [row["reason"] for row in expected]
    assert read["units"].to_pylist() == [row["units"] for row in expected]
    with pytest.raises(ConfigError, match="cannot be written"):
        run(cli, "plan", "--csv", str(tmp_path / "no" / "where.csv"))


@pytest.mark.usefixtures("shops")
def test_people_read_stores_and_reasons(cli: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    monkeypatch.setattr(command, "console", console)
    run(cli, "plan", "--store", "S1", "--rows", "1")
    text = console.export_text()
    assert "S1: 1 order for 9.60, 1 transfer" in text
    assert "Soap  sells one every 2 days; none on hand; fetch" in text
    assert "… and 1 more" in text
    run(cli, "plan", "--store", "S2")
    assert "nothing is needed" in console.export_text()


@pytest.mark.usefixtures("shops")
def test_what_if_shows_both_plans(cli: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    monkeypatch.setattr(command, "console", console)
    change = ("--lead-time", "+2d", "--demand", "+20%", "--price", "-10%")
    found = json.loads(run(cli, "what-if", "--json", *change).output)
    assert found["now"]["items"] == 4
    factor = 1.2 * 0.9**-1.6
    assert found["then"]["daily_units"] == pytest.approx(factor * found["now"]["daily_units"])
    assert found["moved"][0]["product_name"] == "Milk"
    run(cli, "what-if", "--store", "S1", "--demand", "+20%")
    text = console.export_text()
    assert "units sold a day" in text
    assert "+20.0%" in text
    assert "S1 Milk: stock up to" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "--store", "S7"], "no scores of store S7"),
        (["plan", "--date", "soon"], "--date must be a day"),
        (["plan", "--date", "2026-03-09"], "within 14 days"),
        (["plan", "--date", "2026-04-09"], "within 14 days"),
        (["plan", "--service-level", "95"], "between 0.01 and 0.999"),
        (["what-if", "--lead-time", "long"], "--lead-time must be days"),
        (["what-if", "--demand", "20"], "--demand must be a percentage"),
        (["what-if", "--price", "-100%"], "--price must be a percentage"),
    ],
)
@pytest.mark.usefixtures("shops")
def test_wrong_wish_is_named(cli: typer.Typer, arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        run(cli, *arguments)
    assert refused.value.hint


@pytest.mark.parametrize(("text", "days"), [("+2d", 2.0), ("-0.5d", -0.5), ("3", 3.0)])
def test_days_of(text: str, days: float) -> None:
    assert command.days_of(text) == days


@pytest.mark.parametrize(("text", "factor"), [("+20%", 1.2), ("-10%", 0.9), ("0%", 1.0)])
def test_factor_of(text: str, factor: float) -> None:
    assert command.factor_of(text, "--demand") == pytest.approx(factor)


def test_day_may_be_today_and_two_weeks_ahead() -> None:
    for text, day in (("2026-03-11", date(2026, 3, 11)), ("2026-03-25", date(2026, 3, 25))):
        assert regions.day_of(text, NEWEST) == day


@pytest.mark.parametrize("name", ["plan", "what-if"])
def test_warehouse_that_is_not_there_is_named(cli: typer.Typer, name: str) -> None:
    with pytest.raises(ServiceError, match=r"127\.0\.0\.1:1"):
        run(cli, name)
    help_ = run(cli, name, "--help").output
    assert "Example" in help_
    assert f"tillstream {name}" in help_
