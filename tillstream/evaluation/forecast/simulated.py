"""A made-up chain's past, read as the nights read it, beside what its customers truly wanted."""

from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from clickhouse.client import connect
from clickhouse.dimensions import load_dimensions
from clickhouse.migrate import migrate
from lake.client import connect as connect_lake
from orchestration import demand_panel
from orchestration.demand_panel import Sales
from simulators.world.dimensions import dimensions
from simulators.world.scenario import Scenario, load_scenario
from simulators.world.seasons import DAY_MS
from tillstream.bench.scratch import scratch_home, scratch_settings
from tillstream.contracts.catalogue import load_catalogue
from tillstream.devstack.parts import Part
from tillstream.devstack.stack import Stack
from tillstream.evaluation.forecast.recorded import Recorded
from tillstream.evaluation.world import require_start
from tillstream.history.run import history_world, run_name, write_history
from tillstream.history.writer import HistoryWriter
from tillstream.learning.evidence import rows_of
from tillstream.ml.calendar import date_of
from tillstream.settings import Settings

Floats = NDArray[np.float32]

DAYS: Final = 210
# Smaller than a scenario says: a quarter of a year and more, in a minute or two.
_SIZE: Final = {"stores": 10, "products": 1_000, "rate": 3.0}


def simulated(
    settings: Settings, name: str, *, held_out_days: int, least_sale_days: int, seed: int
) -> Recorded:
    """The DAYS before the scenario's start, in a warehouse of their own that is gone afterwards.
    Only shelves that sold on at least so many days before the held-out ones. Raises ConfigError for
    a scenario without a start."""
    scenario = load_scenario(name).model_copy(update=_SIZE | {"seed": seed})
    require_start(scenario)
    with scratch_home("tillstream-forecast-") as home:
        own = scratch_settings(settings, home)
        folder = home / "truth"
        folder.mkdir()
        last_day = _written(own, scenario, folder)
        with closing(connect(Stack(own).up(parts=(Part.WAREHOUSE,)).warehouse)) as client:
            sales = demand_panel.read(client, last_day=last_day, days=DAYS)
        wanted = _wanted(sales, folder)
    before = sales.panel.units[:, : sales.panel.days - held_out_days]
    kept = np.flatnonzero((before > 0).sum(axis=1) >= least_sale_days)
    return Recorded(sales.panel.of_items(kept), sales.revenue[kept], wanted[kept])


def _written(settings: Settings, scenario: Scenario, folder: Path) -> date:
    """Simulate into the warehouse, truth into `folder`; returns the last whole day."""
    world = history_world(scenario, days=DAYS, end_ms=scenario.start_ms(0))
    running = Stack(settings).up(parts=(Part.WAREHOUSE,))
    migrate(running.warehouse)
    with closing(connect(running.warehouse)) as client:
        load_dimensions(client, dimensions(world))
        lake = connect_lake(running.lake, url=running.lake_url)
        with closing(HistoryWriter(client, lake, run_name(world))) as writer:
            write_history(world, load_catalogue(), writer, customer_key=b"judged", folder=folder)
    # The last day of stores west of Greenwich ends after the world does.
    return date_of(world.end_ms // DAY_MS - 2)


def _wanted(sales: Sales, folder: Path) -> Floats:
    """(n, days) units wanted of each shelf a day, sold or not."""
    demand = pq.read_table(folder / "demand.parquet")
    at_ms = demand["slot_start"].cast(pa.int64()).to_numpy()
    day = at_ms // DAY_MS - sales.panel.first_day
    row = rows_of(sales.items, demand)
    wanted = np.zeros_like(sales.panel.units)
    known = (row >= 0) & (day >= 0) & (day < sales.panel.days)
    np.add.at(wanted, (row[known], day[known]), demand["wanted"].to_numpy()[known])
    return wanted
