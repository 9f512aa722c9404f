"""`tillstream forecast`: what each shelf will sell in the next seven days, and how good that is."""

from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from tillstream.cli.forecast_view import show_markdown, show_tables
from tillstream.cli.output import console, emit_json, progress_bar
from tillstream.clock import SystemClock
from tillstream.errors import ConfigError
from tillstream.settings import Settings

DAY = Annotated[
    str | None, typer.Option(metavar="YYYY-MM-DD", help="The last complete day; yesterday.")
]
AS_JSON = Annotated[bool, typer.Option("--json", help="For scripts.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help=__doc__)
    group.command(epilog="Example: tillstream forecast train --day 2026-03-09 --json")(train)
    group.command(epilog="Example: tillstream forecast predict --day 2026-03-09")(predict)
    group.command(epilog="Example: tillstream forecast drift --day 2026-03-16 --json")(drift)
    group.command(
        epilog="Examples: tillstream forecast evaluate · tillstream forecast evaluate --series 500"
        " --methods SeasonalNaive,TSB --json"
    )(evaluate)
    group.command(epilog="Example: tillstream forecast compare --rows 50000 --rounds 50")(compare)
    app.add_typer(group, name="forecast")


def train(ctx: typer.Context, day: DAY = None, as_json: AS_JSON = False) -> None:
    """Train on every day up to this one. The new version goes into service when it beats the one
    that is there on weeks that neither has seen. The same day again makes no second version."""
    from orchestration import forecasting

    found = forecasting.train(ctx.obj, last_day(day))
    if as_json:
        emit_json(asdict(found))
        return
    before = (
        "" if found.pinball_before is None else f", the one in service {found.pinball_before:.4f}"
    )
    console.print(f"v{found.version}: pinball loss {found.pinball:.4f}{before}")
    console.print(
        "in service" if found.promoted else "kept, not in service: tillstream models list"
    )


def predict(ctx: typer.Context, day: DAY = None, as_json: AS_JSON = False) -> None:
    """Forecast the seven days after this one for every shelf, and keep what they were made from."""
    from orchestration import forecasting

    last = last_day(day)
    shelves = forecasting.build_features(ctx.obj, last)
    forecasting.predict(ctx.obj, last)
    if as_json:
        emit_json({"day": str(last), "shelves": shelves})
    else:
        console.print(f'{shelves:,} shelves; tillstream sql "SELECT * FROM latest_forecasts"')


def drift(ctx: typer.Context, day: DAY = None, as_json: AS_JSON = False) -> None:
    """How the forecasts of the week up to this day turned out, and how far its features lie from
    those trained on (psi: over 0.25 is another world)."""
    from orchestration import forecasting

    found = forecasting.watch_drift(ctx.obj, last_day(day))
    if as_json:
        emit_json(found)
        return
    for name, value in found.items():
        console.print(f"{name.replace('_', ' '):<28}{value:.3f}")


def last_day(text: str | None) -> date:
    """Yesterday, when none is given: the last day that is over everywhere."""
    if text is None:
        return datetime.fromtimestamp(SystemClock().now_ms() / 1000, tz=UTC).date() - timedelta(1)
    try:
        return date.fromisoformat(text)
    except ValueError as exc:
        raise ConfigError(f"{text!r} is not a date", hint="write it as 2026-03-09") from exc


def evaluate(
    ctx: typer.Context,
    on: Annotated[
        str, typer.Option(help="recorded (Complete Journey), or a scenario of the simulator.")
    ] = "recorded",
    weeks: Annotated[int, typer.Option(help="Held out, at the end.", min=1, max=12)] = 8,
    series: Annotated[int, typer.Option(help="Judged at a level, at most.", min=20)] = 500,
    least_sale_days: Annotated[
        int, typer.Option(help="Items that sold on so many days before.", min=1)
    ] = 10,
    rounds: Annotated[int, typer.Option(help="Trees.", min=5)] = 200,
    draws: Annotated[int, typer.Option(help="For the 95 % intervals.", min=10)] = 200,
    seed: Annotated[int, typer.Option(help="Of the series drawn, and of a scenario.")] = 0,
    methods: Annotated[
        str | None, typer.Option(help="Baselines, with commas; all of them. none: only ours.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="For a document.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Hold out the last weeks, forecast each of them from what was known at its start, and compare
    with what others' methods say.

    Levels are single shelves and their sums. Scores are means with 95 % intervals from drawing
    stores again (series, where they span stores). All of statsforecast's baselines take some
    minutes on two cores, mostly ETS.
    """
    from tillstream.evaluation.forecast.backtest import Plan, backtest
    from tillstream.evaluation.forecast.source import history_of
    from tillstream.ml.boosting import Recipe
    from tillstream.ml.features import HORIZON_DAYS

    chosen = _methods(methods)
    plan = Plan(weeks=weeks, series=series, draws=draws, seed=seed, methods=chosen)
    with progress_bar(as_json) as on_phase:
        on_phase("reading", None)
        data = history_of(
            ctx.obj,
            on,
            held_out_days=weeks * HORIZON_DAYS,
            least_sale_days=least_sale_days,
            seed=seed,
        )
        results = backtest(
            data,
            plan,
            Recipe(rounds=rounds, least_sale_days=least_sale_days),
            on_phase=on_phase,
        )
    if as_json:
        emit_json([asdict(result) for result in results])
    elif markdown:
        show_markdown(results)
    else:
        show_tables(results)


def compare(
    ctx: typer.Context,
    rows: Annotated[int, typer.Option(help="Examples, at most.", min=1_000)] = 100_000,
    rounds: Annotated[int, typer.Option(help="Trees.", min=5)] = 60,
    as_json: AS_JSON = False,
) -> None:
    """The same examples of the recorded sales learned by XGBoost, LightGBM and Spark's MLlib: how
    well on the last four weeks, and in which time. MLlib takes minutes."""
    from tillstream.evaluation.forecast.libraries import compare as compared
    from tillstream.evaluation.forecast.recorded import recorded
    from tillstream.ml.boosting import Recipe

    settings: Settings = ctx.obj
    with progress_bar(as_json) as on_phase:
        on_phase("reading", None)
        data = recorded(held_out_days=28, least_sale_days=10, cache=settings.cache)
        recipe = Recipe(rounds=rounds, least_sale_days=10)
        trials = compared(data, recipe, rows=rows, on_phase=on_phase)
    if as_json:
        emit_json([asdict(trial) for trial in trials])
        return
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("", "deviance", "RMSE", "WAPE", "seconds", "CPU seconds"):
        table.add_column(name, justify="right" if name else "left")
    for trial in trials:
        scores = (f"{value:.4f}" for value in (trial.deviance, trial.rmse, trial.wape))
        table.add_row(trial.name, *scores, f"{trial.seconds:.1f}", f"{trial.cpu_seconds:.1f}")
    console.print(table)


def _methods(text: str | None) -> tuple[str, ...]:
    from tillstream.evaluation.forecast.baselines import NAMES

    if text is None:
        return NAMES
    chosen = tuple(name.strip() for name in text.split(",") if name.strip() not in ("", "none"))
    if unknown := [name for name in chosen if name not in NAMES]:
        raise ConfigError(f"no baseline is called {unknown[0]}", hint=f"choose of {NAMES}")
    return chosen
