"""Lines and bars as pictures, without a browser or a network."""

from typing import Any

import altair as alt
import pandas as pd
import pyarrow as pa
import vl_convert

from tillstream.reports.panel import Panel, Unit

_COLOURS = ("#2563a8", "#e0853d", "#5a9e6f", "#8a6bb1")
_FORMATS: dict[Unit, str] = {"money": "$,.0f", "share": ".0%", "ratio": ",.2f"}
_GREY, _DARK = "#e6e8eb", "#3b4148"
_PIXELS_A_COLUMN = 46
_PIXELS_A_ROW = 30
_AXIS_WIDTH = 70
_FEW_BARS, _WIDEST_BAR = 4, 34
_PNG_SCALE = 2.0
# Names of two series or more go into a legend above.
_LEGEND = alt.Legend(title=None, orient="top", labelColor=_DARK, symbolStrokeWidth=3)


def svg(panel: Panel, rows: pa.Table) -> str:
    """The chart of a line or bar panel as an SVG text. `rows` must not be empty."""
    return str(vl_convert.vegalite_to_svg(_chart(panel, rows)))


def png(panel: Panel, rows: pa.Table) -> bytes:
    """The same as a PNG."""
    return bytes(vl_convert.vegalite_to_png(_chart(panel, rows), scale=_PNG_SCALE))


def _chart(panel: Panel, rows: pa.Table) -> dict[str, Any]:
    frame = pd.DataFrame({name: _plain(rows[name]) for name in rows.column_names})
    first, *series = frame.columns
    if panel.kind == "bar":
        frame[first] = frame[first].astype(str)
    long = frame.melt(first, series, var_name="series", value_name="amount")
    chart = _line(panel, long, first, series) if panel.kind == "line" else _bar(panel, long, first)
    styled = (
        chart.properties(
            width=panel.width * _PIXELS_A_COLUMN - _AXIS_WIDTH,
            height=panel.height * _PIXELS_A_ROW,
            background="white",
        )
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=_DARK,
            titleColor=_DARK,
            gridColor=_GREY,
            domainColor=_GREY,
            tickColor=_GREY,
            labelFont="sans-serif",
            labelLimit=130,
        )
        .configure_legend(labelFont="sans-serif")
    )
    return dict(styled.to_dict())


def _plain(column: pa.ChunkedArray) -> Any:
    if pa.types.is_decimal(column.type):
        # For the picture only: 15 digits are more than a pixel shows.
        column = column.cast(pa.float64())
    return column.to_pandas()


def _axis(unit: Unit) -> alt.Axis:
    return alt.Axis(
        title=None, format=_FORMATS.get(unit, ",.0f"), tickCount=4, labelOverlap="greedy"
    )


def _scale(series: list[str]) -> alt.Scale:
    return alt.Scale(domain=series, range=list(_COLOURS[: len(series)]))


def _line(panel: Panel, long: pd.DataFrame, first: str, series: list[str]) -> Any:
    legend = _LEGEND if len(series) > 1 else None
    return (
        alt.Chart(long)
        .mark_line(strokeWidth=2, point=len(long) < 60 * len(series))
        .encode(
            x=alt.X(f"{first}:T", axis=alt.Axis(title=None, grid=False, tickCount=7)),
            y=alt.Y("amount:Q", axis=_axis(panel.unit)),
            color=alt.Color("series:N", scale=_scale(series), legend=legend),
        )
    )


def _bar(panel: Panel, long: pd.DataFrame, first: str) -> Any:
    series = list(dict.fromkeys(long["series"]))
    legend = _LEGEND if len(series) > 1 else None
    encoding: dict[str, Any] = {
        "y": alt.Y(f"{first}:N", sort=None, axis=alt.Axis(title=None, ticks=False)),
        "x": alt.X("amount:Q", axis=_axis(panel.unit)),
        "color": alt.Color("series:N", scale=_scale(series), legend=legend),
    }
    if len(series) > 1:
        encoding["yOffset"] = alt.YOffset("series:N", sort=None)
    few = long[first].nunique() <= _FEW_BARS
    chart = alt.Chart(long)
    return (chart.mark_bar(size=_WIDEST_BAR) if few else chart.mark_bar()).encode(**encoding)
