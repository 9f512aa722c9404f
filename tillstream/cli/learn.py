"""`tillstream learn`: demand, and how the chain works, from what is stored."""

from contextlib import closing
from datetime import UTC, date, datetime
from typing import Annotated

import typer

from tillstream.cli.output import console, emit_json
from tillstream.clock import SystemClock
from tillstream.errors import ConfigError
from tillstream.settings import Settings

_DAY_MS = 86_400_000


def register(app: typer.Typer) -> None:
    app.command(epilog="Examples: tillstream learn · tillstream learn --as-of 2026-03-10 --json")(
        learn
    )


def learn(
    ctx: typer.Context,
    as_of: Annotated[
        str | None,
        typer.Option(metavar="YYYY-MM-DD", help="Learn from the days before this; today."),
    ] = None,
    days: Annotated[int, typer.Option(help="How many days of sales count.", min=1)] = 56,
    half_life: Annotated[
        float, typer.Option(help="Days after which a sale counts for half.", min=1)
    ] = 28.0,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Learn what every store sells of every product, when people shop, how promotions work, how
    wrong the books are and how late suppliers.

    Nothing after midnight of that date is looked at, so a past night can be learned again. What was
    learned is written to demand_belief and demand_model, and the shelves that have sold nothing for
    so long that nothing may be there to phantom_stock. Each night does the same for the day that
    has ended, with the defaults.
    """
    from clickhouse.client import connect
    from tillstream.learning.stored import learn_stored

    settings: Settings = ctx.obj
    as_of_ms = _midnight_ms(as_of)
    with closing(connect(settings.warehouse)) as client:
        learned = learn_stored(client, as_of_ms=as_of_ms, days=days, half_life_days=half_life)
    if not learned:
        raise ConfigError(
            f"no stock was reported before {_date(as_of_ms)}: there is nothing to learn from",
            hint="replay or simulate some sales first, or choose a later --as-of",
        )
    found = {"as_of": _date(as_of_ms), "days": days, **learned}
    if as_json:
        emit_json(found)
        return
    for name, value in found.items():
        shown = f"{value:,}" if isinstance(value, int) else value
        console.print(f"{name.replace('_', ' '):<28}{shown}")


def _midnight_ms(as_of: str | None) -> int:
    if as_of is None:
        return SystemClock().now_ms() // _DAY_MS * _DAY_MS
    try:
        day = date.fromisoformat(as_of)
    except ValueError as exc:
        raise ConfigError(f"{as_of!r} is not a date", hint="write it as 2026-03-10") from exc
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000


def _date(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC).date().isoformat()
