"""Panels, macros and pages without a warehouse."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from tillstream.errors import ConfigError
from tillstream.reports.catalogue import DASHBOARDS, dashboard
from tillstream.reports.charts import png, svg
from tillstream.reports.load import load_panels
from tillstream.reports.macros import TimeRange, expand
from tillstream.reports.page import colour, page
from tillstream.reports.panel import Dashboard, Panel, Unit
from tillstream.reports.run import Answered
from tillstream.reports.words import written

SPAN = TimeRange(1_415_792_726_123, 1_447_328_726_456)


@pytest.mark.parametrize(
    ("macro", "sent"),
    [
        ("$__dateFilter(date)", "date >= toDate('2014-11-12') AND date <= toDate('2015-11-12')"),
        ("$__timeFilter(at)", "at >= toDateTime(1415792726) AND at <= toDateTime(1447328726)"),
        (
            "$__timeFilter_ms(at)",
            "at >= fromUnixTimestamp64Milli(1415792726123)"
            " AND at <= fromUnixTimestamp64Milli(1447328726456)",
        ),
        ("$__fromTime", "toDateTime(1415792726)"),
        ("$__toTime", "toDateTime(1447328726)"),
        ("$__fromTime_ms", "fromUnixTimestamp64Milli(1415792726123)"),
        ("$__toTime_ms", "fromUnixTimestamp64Milli(1447328726456)"),
    ],
)
def test_macros_expand_as_the_plugin_documents_them(macro: str, sent: str) -> None:
    assert expand(f"SELECT 1 WHERE {macro}", SPAN, {}) == f"SELECT 1 WHERE {sent}"


def test_a_value_leaves_only_harmless_signs_in_the_query() -> None:
    typed = "a'b\\c\"d;e$__toTime ${x:percentencode} (ü)*!~-_.%"
    put_in = expand("${store:percentencode}", SPAN, {"store": typed})
    assert put_in == (
        "a%27b%5Cc%22d%3Be%24__toTime%20%24%7Bx%3Apercentencode%7D%20%28%C3%BC%29%2A%21~-_.%25"
    )


@pytest.mark.parametrize("sql", ["$__unknown(x)", "$__timeFilter", "$__toTime(x)", "${a:raw}"])
def test_what_nobody_documents_is_refused(sql: str) -> None:
    with pytest.raises(ConfigError):
        expand(sql, SPAN, {"a": "b"})


@pytest.mark.parametrize("one", DASHBOARDS, ids=lambda one: one.key)
def test_panels_fill_whole_rows(one: Dashboard) -> None:
    """So that Grafana, which lays them out from left to right, leaves no holes."""
    at = 0
    for panel in one.panels:
        assert at + panel.width <= 24, panel.title
        at = (at + panel.width) % 24
    assert at == 0
    assert all(panel.description.endswith(".") for panel in one.panels)
    assert len({panel.title for panel in one.panels}) == len(one.panels)


def test_variables_go_into_queries_encoded_only() -> None:
    for one in DASHBOARDS:
        for text in (*(p.sql for p in one.panels), *(v.sql for v in one.variables)):
            assert text.count("${") == text.count("decodeURLComponent('${")
            assert text.count("${") == text.count(":percentencode}')")


def test_the_load_is_ten_panels_of_the_dashboards() -> None:
    panels = load_panels(SPAN.to_ms)
    assert len(panels) == 10
    asked = [panel.sql.format(store="S0007", product="P00003") for panel in panels]
    assert sum("S0007" in sql for sql in asked) == 3
    assert sum("P00003" in sql for sql in asked) == 1
    assert not any("$" in sql or "{" in sql for sql in asked)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (Decimal("1234.5000"), "money", "$1,234.50"),
        (Decimal("-3"), "money", "-$3.00"),
        (0.9844, "share", "98.4 %"),
        (7, "count", "7"),
        (1234567, "count", "1,234,567"),
        (None, "count", "–"),
        (float("nan"), "ratio", "–"),
        ("<b>", "text", "<b>"),
        (datetime(2026, 3, 9, 23, 34, 41, tzinfo=UTC), "moment", "2026-03-09 23:34"),
        (datetime(1970, 1, 1, tzinfo=UTC), "moment", "–"),
    ],
)
def test_values_are_written_for_people(value: Any, unit: Unit, text: str) -> None:
    assert written(value, unit) == text


def test_thresholds_colour_what_they_reach() -> None:
    panel = Panel("p", "stat", "", "", steps=((0.0, "bad"), (0.9, "warn"), (0.95, "good")))
    assert [colour(panel, v) for v in (0.5, 0.9, 0.96, None)] == ["bad", "warn", "good", ""]


LINE = Panel("Revenue", "line", "", "By day.", unit="money")
BAR = Panel("By region", "bar", "", "All.", unit="money")
TABLE = Panel("Names", "table", "", "All.", units={"product": "text"})
MONEY = pa.decimal128(38, 4)


def made() -> dict[str, pa.Table]:
    days = pa.array(
        [datetime(2026, 3, day, tzinfo=UTC) for day in (1, 2)], pa.timestamp("s", "UTC")
    )
    return {
        "line": pa.table({"time": days, "revenue": pa.array([Decimal(1), Decimal(2)], MONEY)}),
        "bar": pa.table({"region": ["East <&'\""], "revenue": pa.array([Decimal(3)], MONEY)}),
        "table": pa.table({"product": ["<script>alert(1)</script>"], "units": [4]}),
    }


def test_charts_are_pictures() -> None:
    tables = made()
    assert svg(LINE, tables["line"]).startswith("<svg")
    assert "East &lt;&amp;" in svg(BAR, tables["bar"])
    assert png(BAR, tables["bar"]).startswith(b"\x89PNG")


def test_a_page_needs_nothing_else_and_believes_nothing() -> None:
    tables = made()
    nothing = Panel("Alerts", "table", "", "None.")
    one = Dashboard("x", "T", "Q?", 1, (LINE, BAR, TABLE, nothing))
    answers = (
        (LINE, tables["line"]), (BAR, tables["bar"]), (TABLE, tables["table"]),
        (nothing, tables["table"].slice(0, 0)),
    )  # fmt: skip
    text = page(Answered(one, SPAN, {"store": "<i>"}, answers))
    assert "<script" not in text and "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "store &lt;i&gt;" in text and "nothing in this range" in text
    assert text.count("<svg") == 2
    assert "http" not in text.replace("http://www.w3.org/", "")


def test_an_unknown_report_is_told_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="no report 'sales'") as refused:
        dashboard("sales")
    assert refused.value.hint == "one of executive, store, inventory, ml, pipeline"
