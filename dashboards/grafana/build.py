"""Writes Grafana's dashboards: `python dashboards/grafana/build.py`. Panels are those of
tillstream/reports, so a report and Grafana ask the same questions in the same words."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import (
    barchart,
    common,
    dashboard,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog import builder as cogbuilder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.units import (
    DatetimeISO,
    Days,
    Dollars,
    PercentUnit,
    Seconds,
    Short,
)

from tillstream.reports.catalogue import DASHBOARDS
from tillstream.reports.panel import ALL, Dashboard, Panel, Unit, Variable

FOLDER = Path(__file__).parent / "json"
CLICKHOUSE = model.DataSourceRef("grafana-clickhouse-datasource", "tillstream-clickhouse")
PROMETHEUS = model.DataSourceRef("prometheus", "tillstream-prometheus")
_COLOURS = {"good": "green", "warn": "orange", "bad": "red"}
_UNITS: dict[Unit, str] = {
    "money": Dollars,
    "count": Short,
    "share": PercentUnit,
    "days": Days,
    "seconds": Seconds,
    "ratio": Short,
    "moment": DatetimeISO,
    "text": "string",
}
_DECIMALS: dict[Unit, int] = {"money": 2, "count": 0, "share": 1, "ratio": 2, "days": 1}
_TO_STORE = {
    "title": "What this store must do now",
    "url": "/d/tillstream-store?var-store=${__value.text:percentencode}",
}
_NOTHING = "nothing in this range"
_PLUGIN = "4.0.0"
_TIME_SERIES, _TABLE = 0, 1


@dataclass
class ClickHouseQuery(Dataquery, cogbuilder.Builder[Dataquery]):
    """A query as the official plugin keeps it: SQL as it was typed."""

    sql: str
    is_time_series: bool

    def build(self) -> Dataquery:
        return self

    def to_json(self) -> dict[str, object]:
        return _query(self.sql, is_time_series=self.is_time_series)


def _query(sql: str, *, is_time_series: bool) -> dict[str, object]:
    return {
        "datasource": {"type": CLICKHOUSE.type_val, "uid": CLICKHOUSE.uid},
        "editorType": "sql",
        "format": _TIME_SERIES if is_time_series else _TABLE,
        "pluginVersion": _PLUGIN,
        "queryType": "timeseries" if is_time_series else "table",
        "rawSql": sql,
        "refId": "A",
    }


def _panel(panel: Panel) -> Any:
    return {"stat": _stat, "line": _line, "bar": _bar, "table": _table}[panel.kind](panel)


def _finished(builder: Any, panel: Panel) -> Any:
    """What all kinds have in common."""
    builder = (
        builder.title(panel.title)
        .description(panel.description)
        .datasource(CLICKHOUSE)
        .with_target(ClickHouseQuery(panel.sql, panel.kind == "line"))
        .unit(_UNITS[panel.unit])
        .no_value(_NOTHING)
        .span(panel.width)
        .height(panel.height)
    )
    if panel.unit in _DECIMALS:
        builder = builder.decimals(_DECIMALS[panel.unit])
    if panel.steps:
        steps = [
            model.Threshold(None if at == 0 else start, _COLOURS[colour])
            for at, (start, colour) in enumerate(panel.steps)
        ]
        builder = builder.thresholds(
            dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)
        )
    for column, unit in panel.units.items():
        properties = [model.DynamicConfigValue("unit", _UNITS[unit])]
        if unit in _DECIMALS:
            properties.append(model.DynamicConfigValue("decimals", _DECIMALS[unit]))
        if column == "store_id":
            properties.append(model.DynamicConfigValue("links", [_TO_STORE]))
        builder = builder.override_by_name(column, properties)
    return builder


def _stat(panel: Panel) -> Any:
    colour = shapes.BigValueColorMode.VALUE if panel.steps else shapes.BigValueColorMode.NONE
    # A moment has no number to reduce to: show the field as it is.
    fields = "/.*/" if panel.unit == "moment" else ""
    reduce = common.ReduceDataOptions().calcs(["lastNotNull"]).fields(fields)
    return _finished(
        stat.Panel()
        .graph_mode(shapes.BigValueGraphMode.NONE)
        .color_mode(colour)
        .reduce_options(reduce),
        panel,
    )


def _line(panel: Panel) -> Any:
    return _finished(timeseries.Panel().fill_opacity(8).line_width(2), panel)


def _bar(panel: Panel) -> Any:
    return _finished(
        barchart.Panel().orientation(shapes.VizOrientation.HORIZONTAL).bar_width(0.8), panel
    )


def _table(panel: Panel) -> Any:
    return _finished(table.Panel(), panel)


def _variable(variable: Variable) -> Any:
    builder = (
        dashboard.QueryVariable(variable.name)
        .label(variable.label)
        .query(variable.sql)
        .datasource(CLICKHOUSE)
        .refresh(model.VariableRefresh.ON_DASHBOARD_LOAD)
        .multi(False)
        .include_all(variable.has_all)
    )
    if variable.has_all:
        builder = builder.all_value(ALL).current(model.VariableOption("All", "$__all", True))
    return builder


# Seen by the stream itself, not stored in tables.
_METRICS = (
    (
        "Records that wait in Kafka",
        "sum by (query) (tillstream_stream_lag_records)",
        Short,
        "By part of the stream: tables, risk and alerts, lake.",
    ),
    (
        "From arrival to stored, p99",
        "histogram_quantile(0.99, sum by (le)"
        " (rate(tillstream_stream_latency_seconds_bucket[5m])))",
        Seconds,
        "From an event's arrival at the broker to its commit.",
    ),
    (
        "Records stored a second",
        "sum by (outcome) (rate(tillstream_stream_records_total[5m]))",
        Short,
        "Counted, duplicates, refused; and archived in the lake.",
    ),
)


def _metric_panels() -> Iterator[Any]:
    for title, expression, unit, description in _METRICS:
        yield (
            timeseries.Panel()
            .title(title)
            .description(description)
            .datasource(PROMETHEUS)
            .with_target(prometheus.Dataquery().expr(expression).datasource(PROMETHEUS).ref_id("A"))
            .unit(unit)
            .no_value(_NOTHING)
            .span(8)
            .height(8)
        )


_PROMOTIONS = (
    "SELECT min(effective_from) AS time, max(effective_to) AS timeEnd, 'promotion' AS tags,"
    " concat('Promotion of ', toString(uniqExact(product_id)), ' products in ',"
    " toString(uniqExact(store_id)), ' stores') AS text FROM bi_price_changes"
    " WHERE reason = 'promotion' AND $__timeFilter(effective_from)"
    " GROUP BY toStartOfHour(effective_from) ORDER BY time"
)
_INCIDENTS = (
    "SELECT hour AS time, concat(toString(sum(records)), ' records refused: ',"
    " arrayStringConcat(groupUniqArray(reason), ', ')) AS text, 'incident' AS tags FROM bi_rejects"
    " WHERE outcome = 'refused' AND $__timeFilter(hour) GROUP BY hour HAVING sum(records) >= 100"
    " ORDER BY time"
)
ANNOTATIONS = (("Promotions", _PROMOTIONS, "blue"), ("Incidents", _INCIDENTS, "red"))


def build(one: Dashboard) -> dict[str, Any]:
    """The dashboard as Grafana's JSON."""
    builder = (
        dashboard.Dashboard(f"tillstream: {one.title}")
        .uid(f"tillstream-{one.key}")
        .description(one.question)
        .tags(["tillstream"])
        .timezone("utc")
        .time(f"now-{one.days}d", "now")
        .refresh("1m")
        .readonly()
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("Other dashboards")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags(["tillstream"])
            .include_vars(True)
            .keep_time(False)
        )
    )
    for variable in one.variables:
        builder = builder.with_variable(_variable(variable))
    for panel in one.panels:
        builder = builder.with_panel(_panel(panel))
    if one.key == "pipeline":
        for metric in _metric_panels():
            builder = builder.with_panel(metric)
    text = json.dumps(builder.build(), cls=JSONEncoder, sort_keys=True)
    made: dict[str, Any] = json.loads(text)
    # The builder's annotations know Grafana's own store only.
    made["annotations"] = {"list": [_annotation(*each) for each in ANNOTATIONS]}
    return made


def _annotation(name: str, sql: str, colour: str) -> dict[str, Any]:
    return {
        "datasource": {"type": CLICKHOUSE.type_val, "uid": CLICKHOUSE.uid},
        "enable": True,
        "iconColor": colour,
        "name": name,
        "target": _query(sql, is_time_series=False),
    }


def as_text(one: Dashboard) -> str:
    return json.dumps(build(one), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> None:
    for one in DASHBOARDS:
        (FOLDER / f"{one.key}.json").write_text(as_text(one), encoding="utf-8")


if __name__ == "__main__":
    main()
