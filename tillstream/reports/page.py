"""A report as one HTML file that needs nothing else."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from jinja2 import Environment, PackageLoader

from tillstream.reports.charts import svg
from tillstream.reports.panel import ALL, Panel
from tillstream.reports.run import Answered
from tillstream.reports.words import written

_EMPTY = "nothing in this range"


def page(report: Answered) -> str:
    """The whole page. Every text from the warehouse is escaped."""
    environment = Environment(
        loader=PackageLoader("tillstream.reports"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    chosen = ", ".join(f"{name} {text}" for name, text in report.chosen.items() if text != ALL)
    return environment.get_template("page.html").render(
        title=report.dashboard.title,
        question=report.dashboard.question,
        since=_minute(report.span.from_ms),
        until=_minute(report.span.to_ms),
        chosen=chosen or "the whole chain",
        cells=list(_cells(report)),
    )


def _cells(report: Answered) -> Iterator[dict[str, Any]]:
    for panel, rows in report.answers:
        yield {
            "panel": panel,
            "empty": _EMPTY if not rows.num_rows else "",
            **(_content(panel, rows) if rows.num_rows else {}),
        }


def _content(panel: Panel, rows: pa.Table) -> dict[str, Any]:
    if panel.kind == "table":
        columns = [
            {"name": name.replace("_", " "), "is_text": panel.unit_of(name) == "text"}
            for name in rows.column_names
        ]
        units = [panel.unit_of(name) for name in rows.column_names]
        body = [
            [written(value, unit) for value, unit in zip(row.values(), units, strict=True)]
            for row in rows.to_pylist()
        ]
        return {"columns": columns, "rows": body}
    if panel.kind == "stat":
        value = rows.column(0)[0].as_py()
        return {"value": written(value, panel.unit), "colour": colour(panel, value)}
    return {"svg": svg(panel, rows)}


def colour(panel: Panel, value: Any) -> str:
    """Of the thresholds, the highest that the value reaches; nothing where there are none."""
    if value is None:
        return ""
    reached = [name for start, name in panel.steps if float(value) >= start]
    return reached[-1] if reached else ""


def _minute(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC).strftime("%Y-%m-%d %H:%M")
