"""One scenario from an empty warehouse to its reports."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clickhouse.client import Client
from clickhouse.writer import insert
from lake.client import Lake
from simulators.world.scenario import Scenario
from tillstream.contracts.catalogue import Catalogue
from tillstream.evaluation.books import read_books
from tillstream.evaluation.rules import Scored
from tillstream.evaluation.run import Predictor, Report, Trial, evaluate
from tillstream.evaluation.scores import Judged
from tillstream.evaluation.world import make_case, write_case
from tillstream.learning.learn import Learned
from tillstream.learning.outlook import Known, believed, risks

OURS = "tillstream"
CENTRED = "tillstream, rates by the forecast"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was judged, and how."""

    scenario: str
    seed: int
    decisions: int
    reports: tuple[Report, ...]
    said: dict[str, Scored]
    judged: Judged


def judge(
    scenario: Scenario,
    *,
    client: Client,
    lake: Lake,
    catalogue: Catalogue,
    folder: Path,
    warmup_days: int,
    test_days: int,
    budget: int,
    draws: int,
    with_forecast: bool = False,
    on_phase: Callable[[str, float | None], None] = lambda _name, _share: None,
) -> Verdict:
    """Simulate into an empty warehouse, ask for every test day's risks, and hold them against what
    happened; `with_forecast` also those of beliefs that the demand forecast centres. `on_phase` is
    told what is done and the share of it. Raises ServiceError and ConfigError."""
    case = make_case(scenario, warmup_days=warmup_days, test_days=test_days)

    @lru_cache(maxsize=1)
    def now(as_of_ms: int) -> tuple[Known, Learned]:
        done = int(np.searchsorted(case.moments, as_of_ms))
        on_phase("predicting and comparing", done / len(case.moments))
        return believed(client, as_of_ms=as_of_ms, days=warmup_days)

    predictors: dict[str, Predictor] = {OURS: lambda as_of_ms: risks(*now(as_of_ms))}
    if with_forecast:
        # The libraries of models are loaded only where they are needed.
        from tillstream.evaluation.centred import CentredOnForecast

        predictors[CENTRED] = CentredOnForecast(client, now, days=warmup_days)
    write_case(
        case,
        client=client,
        lake=lake,
        catalogue=catalogue,
        customer_key=b"judged",
        folder=folder,
        on_progress=lambda report: on_phase("simulating", report.days / report.days_total),
    )
    _load_orders(client, folder)
    on_phase("reading the books", None)
    trial = Trial(case, read_books(client, case.items, case.moments, case.world.start_ms), folder)
    reports, said, judged = evaluate(trial, predictors, budget=budget, draws=draws)
    return Verdict(scenario.name, scenario.seed, len(judged.row), tuple(reports), said, judged)


def _load_orders(client: Client, folder: Path) -> None:
    """The chain's order book, without what only the future tells."""
    orders = pq.read_table(folder / "orders.parquet")
    known = orders.select(["store_id", "product_id", "units", "ordered_at", "expected_at"])
    numbers = pa.array([str(number) for number in range(orders.num_rows)])
    insert(client, "purchase_orders", known.append_column("order_id", numbers))
