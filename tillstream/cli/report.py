"""`tillstream report`: a dashboard as a file, for those without Grafana."""

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from tillstream.cli.output import console, emit_json
from tillstream.errors import ConfigError
from tillstream.settings import Settings

_DAY_MS = 86_400_000


def register(app: typer.Typer) -> None:
    app.command(
        epilog="Examples: tillstream report executive --out reports · tillstream report store"
        " --store 424 --out reports · tillstream report inventory --region East --days 90 --png"
        " --out reports"
    )(report)


def report(
    ctx: typer.Context,
    name: Annotated[
        str, typer.Argument(help="executive, store, inventory, ml or pipeline.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="Folder to write into; created when needed.")],
    until: Annotated[
        str | None,
        typer.Option(help="End of the range, UTC, as 2026-03-09T18:00; without it the last sale."),
    ] = None,
    days: Annotated[
        int | None, typer.Option(help="Days of the range; as the dashboard's own.", min=1)
    ] = None,
    store: Annotated[str | None, typer.Option(help="A store's id.")] = None,
    region: Annotated[str | None, typer.Option(help="A region.")] = None,
    category: Annotated[str | None, typer.Option(help="A category.")] = None,
    product: Annotated[str | None, typer.Option(help="A product's id.")] = None,
    png: Annotated[bool, typer.Option("--png", help="Each chart as a picture, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The answers instead of a page.")] = False,
) -> None:
    """Write a dashboard as one HTML file, <name>.html, with the figures of this moment.

    It asks what the Grafana dashboard of the same name asks, and needs no network.
    """
    from clickhouse.client import connect
    from tillstream.reports.catalogue import dashboard
    from tillstream.reports.charts import png as as_png
    from tillstream.reports.macros import TimeRange
    from tillstream.reports.page import page
    from tillstream.reports.run import answer, newest_sale_ms

    settings: Settings = ctx.obj
    wanted = dashboard(name)
    asked = {"store": store, "region": region, "category": category, "product": product}
    chosen = {key: text for key, text in asked.items() if text is not None}
    with closing(connect(settings.warehouse)) as client:
        end_ms = _moment_ms(until) if until else newest_sale_ms(client)
        if end_ms is None:
            raise ConfigError(
                "there are no sales to report on",
                hint="`tillstream replay` or `tillstream simulate` makes some; or give --until",
            )
        span = TimeRange(end_ms - (days or wanted.days) * _DAY_MS, end_ms)
        answered = answer(client, wanted, span, chosen)
    if as_json:
        emit_json({panel.title: rows.to_pylist() for panel, rows in answered.answers})
        return
    out.mkdir(parents=True, exist_ok=True)
    written = [out / f"{name}.html"]
    written[0].write_text(page(answered), encoding="utf-8")
    if png:
        for number, (panel, rows) in enumerate(answered.answers):
            if panel.kind in ("line", "bar") and rows.num_rows:
                written.append(out / f"{name}-{number:02}.png")
                written[-1].write_bytes(as_png(panel, rows))
    for path in written:
        console.print(str(path), markup=False, soft_wrap=True)


def _moment_ms(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise ConfigError(f"{text!r} is not a moment", hint="write it as 2026-03-09T18:00") from exc
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)
