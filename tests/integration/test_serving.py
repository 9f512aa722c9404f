"""Dashboards' questions to a real warehouse with a small chain's four weeks in it."""

import importlib.util
import json
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from clickhouse.client import Client, connect
from clickhouse.dictionary import as_markdown, dictionary
from clickhouse.queries import select
from tests.fixtures.past import END_MS
from tillstream.reports.catalogue import DASHBOARDS
from tillstream.reports.load import SETTINGS
from tillstream.reports.macros import TimeRange, expand
from tillstream.reports.panel import ALL, Dashboard, Panel
from tillstream.reports.run import DAY_MS, answer
from tillstream.settings import WarehouseSettings
from tillstream.web.people import EVERY_STORE
from tillstream.web.reads.stores import by_store, shrinkage, today
from tillstream.web.reads.warehouse import Warehouse

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
GRAFANA = ROOT / "dashboards/grafana"
# Nothing is refused, sent twice or unusual in a history without faults.
EMPTY = {"Records that do not count"}


@pytest.fixture(scope="module")
def client(small_chain: WarehouseSettings) -> Iterator[Client]:
    with closing(connect(small_chain)) as client:
        yield client


def span_of(dashboard: Dashboard) -> TimeRange:
    return TimeRange(END_MS - dashboard.days * DAY_MS, END_MS - 1)


def chosen_in(dashboard: Dashboard, **chosen: str) -> dict[str, str]:
    everything = {v.name: ALL if v.has_all else "S0001" for v in dashboard.variables}
    return everything | chosen


def ask(client: Client, dashboard: Dashboard, panel: Panel, **chosen: str) -> list[dict[str, Any]]:
    sql = expand(panel.sql, span_of(dashboard), chosen_in(dashboard, **chosen))
    return list(select(client, sql).to_pylist())


def panel_of(title: str) -> tuple[Dashboard, Panel]:
    return next((d, p) for d in DASHBOARDS for p in d.panels if p.title == title)


def fact(client: Client, sql: str) -> Any:
    return client.query(sql).result_rows[0][0]


PANELS = [(d, p) for d in DASHBOARDS for p in d.panels]


@pytest.mark.parametrize(
    ("dashboard", "panel"), PANELS, ids=[f"{d.key}: {p.title}" for d, p in PANELS]
)
def test_every_panel_answers_as_its_kind_is_drawn(
    client: Client, dashboard: Dashboard, panel: Panel
) -> None:
    rows = ask(client, dashboard, panel)
    if panel.title in EMPTY:
        assert rows == []
        return
    assert rows
    names = list(rows[0])
    assert set(panel.units) <= set(names)
    if panel.kind == "stat":
        assert (len(rows), len(names)) == (1, 1)
    elif panel.kind == "line":
        assert names[0] == "time"
        assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
    if panel.kind in ("line", "bar"):
        assert all(
            isinstance(row[name], int | float | Decimal) for row in rows for name in names[1:]
        )


def test_panels_ask_only_what_is_served(client: Client) -> None:
    served = {one.name for one in dictionary(client, prefix="bi_")}
    for _, panel in PANELS:
        assert set(re.findall(r"(?:FROM|JOIN) (\w+)", panel.sql)) <= served, panel.title


def test_an_empty_warehouse_gives_empty_panels(client: Client) -> None:
    """A chain that has not begun yet: no panel fails, and none makes up a figure."""
    long_ago = TimeRange(0, 86_400_000)
    for dashboard, panel in PANELS:
        if panel.kind in ("line",) or panel.title in ("Revenue today", "Revenue yesterday"):
            sql = expand(panel.sql, long_ago, chosen_in(dashboard))
            rows = select(client, sql).to_pylist()
            assert rows == [] or [list(row.values()) for row in rows] == [[Decimal(0)]]


HOSTILE = [
    "S0001' OR '1'='1",
    "S0001\\' OR 1=1 -- ",
    "'); DROP TABLE fact_sales; --",
    "${region:percentencode}",
    "$__timeFilter(date)",
    "100% \\",
    "",
]


@pytest.mark.parametrize("typed", HOSTILE)
def test_a_value_with_sql_in_it_is_only_a_value(client: Client, typed: str) -> None:
    before = fact(client, "SELECT count() FROM fact_sales")
    store, open_alerts = panel_of("Open alerts")
    assert ask(client, store, open_alerts, store=typed) == [{"alerts": 0}]
    inventory, shelves = panel_of("Shelves")
    for name in ("region", "store", "category", "product"):
        assert ask(client, inventory, shelves, **{name: typed}) == [{"shelves": 0}]
    assert fact(client, "SELECT count() FROM fact_sales") == before


@pytest.mark.parametrize("name", ["O'Hara's \\ 5% + ünï", "a\nb", '"x" `y` {z:String} --'])
def test_a_value_arrives_as_it_was_typed(client: Client, name: str) -> None:
    sql = expand(
        "SELECT decodeURLComponent('${store:percentencode}') AS came",
        TimeRange(0, 1),
        {"store": name},
    )
    assert select(client, sql).to_pylist() == [{"came": name}]


def test_revenue_is_the_facts_to_the_cent_on_every_way(
    client: Client, small_chain: WarehouseSettings
) -> None:
    exact: Decimal = fact(
        client,
        "SELECT sum(revenue) FROM fact_sales WHERE date_key BETWEEN '2026-02-23' AND '2026-03-09'",
    )
    executive, by_day = panel_of("Revenue and profit by day")
    span = TimeRange(END_MS - 15 * DAY_MS, END_MS - 1)
    shown = select(client, expand(by_day.sql, span, chosen_in(executive))).to_pylist()
    assert sum(row["revenue"] for row in shown) == exact
    _, by_region = panel_of("Revenue by region")
    regions = select(client, expand(by_region.sql, span, chosen_in(executive))).to_pylist()
    assert sum(row["revenue"] for row in regions) == exact
    in_json = json.loads((GRAFANA / "json/executive.json").read_text(encoding="utf-8"))
    saved = {p["title"]: p["targets"][0]["rawSql"] for p in in_json["panels"]}
    grafana = select(client, expand(saved[by_day.title], span, chosen_in(executive))).to_pylist()
    assert grafana == shown
    for view in ("bi_sales", "bi_sales_by_product", "bi_sales_by_hour"):
        days = "date BETWEEN '2026-02-23' AND '2026-03-09'"
        assert fact(client, f"SELECT sum(revenue) FROM {view} WHERE {days}") == exact
    windows = fact(client, "SELECT sum(revenue) FROM bi_velocity")
    assert windows == fact(client, "SELECT sum(revenue) FROM fact_sales")
    report = answer(client, executive, span, {})
    (told,) = (rows for panel, rows in report.answers if panel.title == by_day.title)
    assert sum(told["revenue"].to_pylist()) == exact


def test_the_console_says_what_dashboards_say_to_the_cent(
    client: Client, small_chain: WarehouseSettings
) -> None:
    with closing(Warehouse(small_chain)) as warehouse:
        now = today(warehouse)
        assert now is not None
        now = replace(now, until_ms=END_MS)
        stores = by_store(warehouse, EVERY_STORE, now)
        four_weeks = shrinkage(warehouse, EVERY_STORE, now)["sold"]
    executive, by_day = panel_of("Revenue and profit by day")
    span = TimeRange(END_MS - 28 * DAY_MS, END_MS - 1)
    shown = select(client, expand(by_day.sql, span, chosen_in(executive))).to_pylist()
    assert f"{four_weeks:.2f}" == f"{sum(row['revenue'] for row in shown):.2f}"
    hours = select(
        client,
        "SELECT store_id, sum(revenue) AS revenue, sum(profit) AS profit, sum(lines) AS lines"
        " FROM bi_sales_by_hour WHERE date >= toDate({day:String}) - 2"
        " AND hour >= fromUnixTimestamp64Milli({until:Int64} - 86400000, 'UTC')"
        " AND hour < fromUnixTimestamp64Milli({until:Int64}, 'UTC') GROUP BY store_id",
        parameters={"day": now.day, "until": now.until_ms},
    ).to_pylist()
    assert len(stores) == 6

    def to_the_cent(rows: list[dict[str, Any]]) -> set[tuple[str, str, str, int]]:
        return {
            (row["store_id"], f"{row['revenue']:.2f}", f"{row['profit']:.2f}", row["lines"])
            for row in rows
        }

    assert to_the_cent(stores) == to_the_cent(hours)


def test_stores_add_up_to_the_chain(client: Client) -> None:
    _, revenue = panel_of("Revenue today")
    executive = next(d for d in DASHBOARDS if d.key == "executive")
    store = next(d for d in DASHBOARDS if d.key == "store")
    _, of_store = next((d, p) for d, p in PANELS if d is store and p.title == "Revenue today")
    stores = [
        row["store_id"] for row in select(client, "SELECT store_id FROM bi_stores").to_pylist()
    ]
    parts = [ask(client, store, of_store, store=name)[0]["revenue"] for name in stores]
    assert len(stores) == 6 and sum(parts) == ask(client, executive, revenue)[0]["revenue"] > 0


def test_a_region_is_the_sum_of_its_stores(client: Client) -> None:
    executive, revenue = panel_of("Revenue today")
    regions = {row["region"] for row in select(client, "SELECT region FROM bi_stores").to_pylist()}
    parts = [ask(client, executive, revenue, region=one)[0]["revenue"] for one in regions]
    assert len(regions) == 2 and sum(parts) == ask(client, executive, revenue)[0]["revenue"]


def test_sums_by_day_come_with_the_first_merge(client: Client) -> None:
    by_day = (
        "SELECT date, sum(revenue), sum(units) FROM bi_sales_by_store GROUP BY date ORDER BY date"
    )
    parts = (
        "SELECT level, length(projections) FROM system.parts"
        " WHERE active AND database = currentDatabase() AND table = 'fact_sales'"
    )
    inserted = client.query(parts).result_rows
    before = client.query(by_day).result_rows
    assert {count for level, count in inserted if level == 0} == {0}
    client.command("OPTIMIZE TABLE fact_sales FINAL")
    merged = client.query(parts).result_rows
    assert {count for level, count in merged if level > 0} == {2}
    assert client.query(by_day).result_rows == before


@pytest.fixture(scope="module")
def merged(client: Client) -> Client:
    client.command("OPTIMIZE TABLE fact_sales FINAL")
    return client


def test_days_of_stores_come_from_the_projection(merged: Client) -> None:
    plan = merged.query(
        "EXPLAIN projections = 1 SELECT date, sum(revenue) FROM bi_sales_by_store"
        " WHERE date >= '2026-03-01' GROUP BY date"
    ).result_rows
    assert any("store_days" in row[0] for row in plan)


def test_days_of_products_come_from_a_projection_too(merged: Client) -> None:
    dashboard, panel = panel_of("Top movers")
    sql = expand(panel.sql, span_of(dashboard), chosen_in(dashboard))
    plan = merged.query(f"EXPLAIN projections = 1 {sql}").result_rows
    assert any("product_days" in row[0] for row in plan)
    in_region = expand(panel.sql, span_of(dashboard), chosen_in(dashboard, region="Mountain"))
    plan = merged.query(f"EXPLAIN projections = 1 {in_region}").result_rows
    assert not any("product_days" in row[0] for row in plan)


def test_complete_until_is_the_partition_that_is_furthest_behind(client: Client) -> None:
    newest = client.query(
        "SELECT max(arrival) FROM fact_sales WHERE date_key >= '2026-03-08' GROUP BY partition"
    ).result_columns[0]
    shown = fact(client, "SELECT complete_until FROM bi_freshness WHERE feed = 'sales'")
    assert len(newest) == 3 and shown == min(newest) < max(newest)


def test_availability_counts_shelves_with_stock(client: Client) -> None:
    rows = client.query("SELECT on_hand FROM current_stock").result_rows
    with_stock = sum(row[0] > 0 for row in rows)
    executive, panel = panel_of("Shelves with stock")
    assert ask(client, executive, panel)[0]["availability"] == with_stock / len(rows)


def test_every_view_and_column_says_what_it_is(client: Client) -> None:
    relations = dictionary(client, prefix="bi_")
    assert len(relations) >= 20
    assert [r.name for r in relations if not r.comment] == []
    assert [(r.name, c.name) for r in relations for c in r.columns if not c.comment] == []


def test_every_feed_of_figures_says_how_complete_it_is(client: Client) -> None:
    without = {
        one.name
        for one in dictionary(client, prefix="bi_")
        if "complete_until" not in {column.name for column in one.columns}
    }
    dimensions = {"bi_dates", "bi_products", "bi_stores", "bi_suppliers", "bi_access"}
    assert without == dimensions | {"bi_commits", "bi_models"}


def test_the_dictionary_in_the_documents_is_the_warehouses(client: Client) -> None:
    text = (ROOT / "docs/dictionary.md").read_text(encoding="utf-8")
    assert text == as_markdown(dictionary(client, prefix="bi_"))


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("grafana_build", GRAFANA / "build.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda one: one.key)
def test_the_dashboards_in_the_repository_are_what_the_code_makes(
    builder: ModuleType, dashboard: Dashboard
) -> None:
    path = GRAFANA / f"json/{dashboard.key}.json"
    assert path.read_text(encoding="utf-8") == builder.as_text(dashboard)


def test_annotations_lists_and_alert_rules_can_be_asked(
    client: Client, builder: ModuleType
) -> None:
    for dashboard in DASHBOARDS:
        for variable in dashboard.variables:
            values = select(client, expand(variable.sql, span_of(dashboard), {"category": ALL}))
            assert values.num_columns == 1 and values.num_rows
    week = TimeRange(END_MS - 7 * DAY_MS, END_MS)
    found = {name: select(client, expand(sql, week, {})) for name, sql, _ in builder.ANNOTATIONS}
    assert found["Promotions"].column_names == ["time", "timeEnd", "tags", "text"]
    assert found["Promotions"].num_rows and found["Incidents"].num_rows == 0
    rules = yaml.safe_load((GRAFANA / "provisioning/alerting/tillstream.yaml").read_text())
    sent = [
        query["model"]["rawSql"]
        for rule in rules["groups"][0]["rules"]
        for query in rule["data"]
        if "rawSql" in query["model"]
    ]
    assert len(sent) == 3
    for sql in sent:
        assert select(client, sql).shape == (1, 1)


def test_dashboards_and_rules_name_provisioned_data_sources() -> None:
    sources = yaml.safe_load((GRAFANA / "provisioning/datasources/tillstream.yaml").read_text())
    provisioned = {source["uid"] for source in sources["datasources"]}
    for path in (GRAFANA / "json").glob("*.json"):
        named = set(
            re.findall(r'"uid": "(tillstream-(?:clickhouse|prometheus))"', path.read_text())
        )
        assert named <= provisioned and "tillstream-clickhouse" in named


def test_grafana_sends_the_settings_that_the_load_is_measured_with() -> None:
    sources = yaml.safe_load((GRAFANA / "provisioning/datasources/tillstream.yaml").read_text())
    clickhouse = sources["datasources"][0]["jsonData"]
    sent = {one["setting"]: one["value"] for one in clickhouse["customSettings"]}
    assert sent == SETTINGS


def test_metrics_of_the_pipeline_dashboard_exist() -> None:
    dashboard = (GRAFANA / "json/pipeline.json").read_text(encoding="utf-8")
    documented = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    named = set(re.findall(r"tillstream_\w+", dashboard))
    assert len(named) == 3
    assert all(name.removesuffix("_bucket") in documented for name in named)
