"""A run to judge predictions by: a scenario with a past before it, and enough time after it to see
how the last decision turned out.

The clock is the scenario's own, so shocks come when it says. Its demand cannot be switched on at a
day: traffic and promotions of a scenario hold throughout, in the past before it too.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clickhouse.client import Client
from clickhouse.dimensions import load_dimensions
from lake.client import Lake
from simulators.world.catalogue import make_catalogue
from simulators.world.chain import Chain
from simulators.world.dimensions import dimensions
from simulators.world.scenario import ColdChainFailure, Scenario, Shock, SupplierStrike
from simulators.world.seasons import DAY_MS
from simulators.world.truth import TruthWriter, merge_parts
from simulators.world.world import MINUTE_MS, World, make_world
from tillstream.contracts.catalogue import Catalogue
from tillstream.errors import ConfigError
from tillstream.evaluation.arrivals import MOST_DAYS_LATE
from tillstream.evaluation.books import Books, BooksKeeper
from tillstream.evaluation.items import Items, items_of
from tillstream.history.run import HistoryReport, run_name, write_history
from tillstream.history.writer import HistoryWriter

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Case:
    """A world, and when predictions are asked for in it: at `moments` (UTC midnights, ms)."""

    world: World
    items: Items
    moments: Ints


def require_start(scenario: Scenario) -> None:
    """Raises ConfigError for a scenario that begins whenever it is run."""
    if scenario.start is None:
        raise ConfigError(
            f"the scenario {scenario.name} has no start", hint="only a fixed time can be judged"
        )


def make_case(scenario: Scenario, *, warmup_days: int = 42, test_days: int = 14) -> Case:
    """`test_days` from the scenario's first day on, after `warmup_days`. Raises ConfigError for a
    scenario without a start."""
    require_start(scenario)
    if warmup_days < 1 or test_days < 1:
        raise ConfigError("both warm-up and test need a day at least")
    start_ms = scenario.start_ms(0)
    first = start_ms // DAY_MS
    into_day = (start_ms % DAY_MS) / MINUTE_MS
    days = warmup_days + test_days + _tail_days(scenario)
    prepared = scenario.model_copy(
        update={
            "minutes": days * DAY_MS / MINUTE_MS,
            "shocks": tuple(_later(one, warmup_days, into_day) for one in scenario.shocks),
        }
    )
    world = make_world(prepared, start_ms=(first - warmup_days) * DAY_MS, whole_days=True)
    return Case(world, items_of(world), (first + np.arange(test_days)) * DAY_MS)


def _tail_days(scenario: Scenario) -> int:
    """The longest that an order takes, and the day it arrives on."""
    catalogue = make_catalogue(scenario.seed, scenario.products, first_day=0)
    strikes = [one.days for one in scenario.shocks if isinstance(one, SupplierStrike)]
    return int(catalogue.suppliers.lead_days.max()) + MOST_DAYS_LATE + sum(strikes) + 2


def _later(shock: Shock, days: int, minutes: float) -> Shock:
    """A shock reckoned from `days` and `minutes` before the moment it was reckoned from."""
    if isinstance(shock, SupplierStrike):
        return shock.model_copy(update={"from_day": shock.from_day + days})
    name = "after_minutes"
    after = getattr(shock, name) + days * DAY_MS / MINUTE_MS
    # Days of history begin at midnight, whatever the scenario's hour.
    if isinstance(shock, ColdChainFailure):
        after += minutes
    return shock.model_copy(update={name: after})


def write_case(
    case: Case,
    *,
    client: Client,
    lake: Lake,
    catalogue: Catalogue,
    customer_key: bytes,
    folder: Path,
    on_progress: Callable[[HistoryReport], None] = lambda _: None,
) -> HistoryReport:
    """The run into a warehouse of its own and a lake, its truth into `folder`, which exists.
    Raises ServiceError, and ConfigError when the warehouse holds another history."""
    load_dimensions(client, dimensions(case.world))
    with closing(HistoryWriter(client, lake, run_name(case.world))) as writer:
        return write_history(
            case.world,
            catalogue,
            writer,
            customer_key=customer_key,
            folder=folder,
            on_progress=on_progress,
        )


def simulate_case(case: Case, folder: Path) -> Books:
    """The same run without a warehouse, for what needs the books alone. Truth into `folder`."""
    chain = Chain(case.world, case.world.stores)
    keeper = BooksKeeper(case.items, case.moments, case.world.start_ms)
    with TruthWriter(folder, 0) as truth:
        truth.shelves(chain.initially_empty())
        for events in chain.slots():
            truth.slot(events)
            keeper.add(events)
        truth.finish(chain.states, case.world.end_ms)
    merge_parts(folder, 1)
    return keeper.books()
