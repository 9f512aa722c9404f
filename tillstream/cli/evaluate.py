"""`tillstream evaluate`: how good the predicted stock-outs are, against a hidden truth."""

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table

from tillstream.cli.output import OnShare, console, emit_json, progress_bar
from tillstream.settings import Settings

if TYPE_CHECKING:
    from tillstream.evaluation.judge import Verdict
    from tillstream.evaluation.metrics import Estimate

_SHOWN = {
    "skill": "skill",
    "calibration_error": "cal. err.",
    "pr_auc": "PR-AUC",
    "precision": "prec.",
    "recall": "recall",
    "false_alerts": "false",
    "lost_margin_avoided": "saved",
}


def register(app: typer.Typer) -> None:
    app.command(
        epilog="Examples: tillstream evaluate --scenario quiet-tuesday --seed 101 · tillstream"
        " evaluate --scenario supplier-strike --stores 10 --plots curves --json"
    )(evaluate)


def evaluate(
    ctx: typer.Context,
    scenario: Annotated[str, typer.Option(help="A bundled one, or a file.")] = "quiet-tuesday",
    seed: Annotated[int, typer.Option(help="The world's chance.", min=0)] = 101,
    stores: Annotated[int, typer.Option(help="How many shops.", min=2)] = 20,
    products: Annotated[int, typer.Option(help="How many products.", min=20)] = 3_000,
    rate: Annotated[
        float | None, typer.Option(help="Events a minute and store; the scenario's.", min=0.1)
    ] = None,
    warmup_days: Annotated[int, typer.Option(help="Days to learn from before.", min=7)] = 42,
    test_days: Annotated[int, typer.Option(help="Days to be judged by.", min=1)] = 14,
    budget: Annotated[int, typer.Option(help="Alerts a store and day.", min=1)] = 5,
    draws: Annotated[
        int, typer.Option(help="Of stores and days, for the intervals.", min=10)
    ] = 200,
    with_forecast: Annotated[
        bool,
        typer.Option(
            "--with-forecast", help="Also with rates by the demand forecast; 63 days to learn from."
        ),
    ] = False,
    plots: Annotated[Path | None, typer.Option(help="A folder for the curves (SVG).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Simulate a chain, predict at each midnight which shelves will run empty before an order
    placed then can arrive, and hold that against what truly happened.

    The world is written to a warehouse in a scratch folder; predictions come from there, as
    `tillstream learn` would have made them that night. Beside them stand oracles, who know the true
    demand and lead times, and the rules that others use. Shelves that are empty already are not
    judged. Intervals (95 %) come from drawing stores again; of what happened, days too.
    """
    from tillstream.bench.scratch import scratch_home, scratch_settings

    with scratch_home("tillstream-evaluate-") as home, progress_bar(as_json) as on_phase:
        own = scratch_settings(ctx.obj, home)
        wanted: dict[str, Any] = {"seed": seed, "stores": stores, "products": products}
        verdict = _judge(
            own,
            scenario,
            wanted | ({"rate": rate} if rate is not None else {}),
            on_phase,
            {
                "warmup_days": warmup_days,
                "test_days": test_days,
                "budget": budget,
                "draws": draws,
                "with_forecast": with_forecast,
            },
        )
    if plots:
        _plot(plots, verdict)
    if as_json:
        emit_json(_told(verdict))
        return
    _show(verdict, budget)


def _judge(
    settings: Settings,
    scenario: str,
    changes: dict[str, Any],
    on_phase: OnShare,
    sizes: dict[str, Any],
) -> "Verdict":
    from clickhouse.client import connect
    from clickhouse.migrate import migrate
    from lake.client import connect as connect_lake
    from simulators.world.scenario import load_scenario
    from tillstream.contracts.catalogue import load_catalogue
    from tillstream.devstack.parts import Part
    from tillstream.devstack.stack import Stack
    from tillstream.evaluation.judge import judge
    from tillstream.evaluation.world import require_start

    wanted = load_scenario(scenario).model_copy(update=changes)
    require_start(wanted)
    running = Stack(settings).up(parts=(Part.WAREHOUSE,))
    migrate(running.warehouse)
    truth = settings.home / "truth"
    truth.mkdir()
    with closing(connect(running.warehouse)) as client:
        return judge(
            wanted,
            client=client,
            lake=connect_lake(running.lake, url=running.lake_url),
            catalogue=load_catalogue(),
            folder=truth,
            on_phase=on_phase,
            **sizes,
        )


def _told(verdict: "Verdict") -> dict[str, Any]:
    return {
        "scenario": verdict.scenario,
        "seed": verdict.seed,
        "decisions": verdict.decisions,
        "reports": [asdict(report) for report in verdict.reports],
    }


def _show(verdict: "Verdict", budget: int) -> None:
    ours = verdict.reports[0]
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"{verdict.scenario}, seed {verdict.seed}: {verdict.decisions:,} decisions, "
        f"{ours.base_rate:.1%} ran out; budget {budget} alerts a store-day",
        title_justify="left",
    )
    table.add_column("")
    for name in _SHOWN.values():
        table.add_column(name, justify="right")
    for report in verdict.reports:
        table.add_row(report.name, *(_figure(report.scores.get(name)) for name in _SHOWN))
    console.print(table)
    bands = Table(
        box=box.SIMPLE_HEAD, title="What we said, and what happened", title_justify="left"
    )
    for name in ("risk", "decisions", "said", "happened", "95 % interval", ""):
        bands.add_column(name, justify="right")
    for band in ours.bands:
        low, high = band.observed.low, band.observed.high
        bands.add_row(
            f"{band.low:.0%} to {band.high:.0%}",
            f"{band.count:,}",
            f"{band.predicted:.2%}",
            f"{band.observed.value:.2%}",
            f"{low:.2%} to {high:.2%}",
            "" if low <= band.predicted <= high else "outside",
        )
    console.print(bands)
    for name, ratio in ours.ratios.items():
        console.print(f"{name} over the oracle's: {ratio.value:.2f}")


def _figure(estimate: "Estimate | None") -> str:
    return "–" if estimate is None else f"{estimate.value:.3f}"


def _plot(folder: Path, verdict: "Verdict") -> None:
    from tillstream.evaluation.plots import plot_calibration, plot_precision_recall

    folder.mkdir(parents=True, exist_ok=True)
    ran_out = verdict.judged.ran_out
    risks = {name: one.risk for name, one in verdict.said.items() if one.risk is not None}
    name = f"{verdict.scenario}-{verdict.seed}"
    plot_calibration(folder / f"{name}-calibration.svg", risks, ran_out)
    ranks = {one_name: one.rank for one_name, one in verdict.said.items()}
    plot_precision_recall(folder / f"{name}-precision-recall.svg", ranks, ran_out)
