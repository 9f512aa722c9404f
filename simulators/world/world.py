"""A chain and its market, made once for a scenario: everything that does not change."""

from dataclasses import dataclass

import numpy as np

from simulators.world.catalogue import Catalogue, make_catalogue
from simulators.world.chance import Purpose, stream
from simulators.world.fitted import fitted
from simulators.world.market import Market
from simulators.world.scenario import Scenario
from simulators.world.seasons import DAY_MS
from simulators.world.stores import Planogram, Store, make_planograms, make_stores

MINUTE_MS = 60_000
# A slot this rich is worth the fixed work of simulating one.
_EVENTS_A_SLOT = 300
_SLOT_MINUTES = (1, 5, 15, 60)
# Measured: sale and movement of nine lines in ten (the others ask for what is in the basket
# already, or is gone), and a share of the deliveries, returns and visits that lines lead to.
EVENTS_PER_LINE = 1.87


@dataclass(frozen=True, slots=True)
class World:
    """`slot_ms` divides time; a slot is what is simulated at once. It depends on the scenario
    alone, as all draws do on slots."""

    scenario: Scenario
    start_ms: int
    slot_ms: int
    catalogue: Catalogue
    planograms: list[Planogram]
    stores: list[Store]
    market: Market

    @property
    def seed(self) -> int:
        return self.scenario.seed

    @property
    def end_ms(self) -> int:
        """Slots are whole: the last one may end a little after the scenario's minutes."""
        slots = -(-int(self.scenario.minutes * MINUTE_MS) // self.slot_ms)
        return self.start_ms + max(1, slots) * self.slot_ms

    @property
    def run_tag(self) -> int:
        """48 bits that events of this world share and those of another do not."""
        scenario = self.scenario
        name = int.from_bytes(scenario.name.encode().ljust(40, b"\0"), "big")
        key = [scenario.seed, scenario.version, scenario.stores, scenario.products, self.start_ms]
        folded = 0
        for part in (*key, int(scenario.rate * 1000), self.slot_ms, name):
            folded = (folded * 0x100000001B3 + part) % (1 << 61)
        draw = stream(folded, Purpose.STORES, subject=1 << 40)
        return int(draw.integers(0, 1 << 48))


def make_world(scenario: Scenario, *, start_ms: int, whole_days: bool = False) -> World:
    """`whole_days` simulates day by day, from each store's own midnight: for history."""
    slot_ms = DAY_MS if whole_days else slot_minutes(scenario.rate) * MINUTE_MS
    if not whole_days:
        start_ms = start_ms // slot_ms * slot_ms
    catalogue = make_catalogue(
        scenario.seed, scenario.products, first_day=_first_day(scenario, start_ms)
    )
    planograms = make_planograms(scenario.seed, catalogue)
    stores = make_stores(
        scenario.seed,
        scenario.stores,
        catalogue,
        baskets_per_day=_baskets_per_day(scenario, catalogue, planograms),
        same_size=scenario.demand.same_size_stores,
    )
    market = Market(scenario.seed, catalogue, planograms, scenario.demand)
    return World(scenario, start_ms, slot_ms, catalogue, planograms, stores, market)


def slot_minutes(rate: float) -> int:
    for minutes in _SLOT_MINUTES:
        if rate * minutes >= _EVENTS_A_SLOT:
            return minutes
    return _SLOT_MINUTES[-1]


def _first_day(scenario: Scenario, start_ms: int) -> int:
    """The day from which products' breaks are reckoned: a whole year's, so that runs of one
    scenario on neighbouring days share their chain."""
    return start_ms // DAY_MS // 365 * 365


def _baskets_per_day(
    scenario: Scenario, catalogue: Catalogue, planograms: list[Planogram]
) -> float:
    """The visits that lead to `rate` events. Every shelf is counted before it first moves, which
    in a short run of many products is a good part of all events."""
    minutes = min(scenario.minutes, 60 * 24 * 30)
    events = scenario.rate * minutes
    shares = []
    for planogram in planograms:
        weight = catalogue.weight[planogram.products]
        shares.append(weight / weight.sum())

    def expected(lines: float) -> float:
        counts = np.mean([(1 - np.exp(-share * lines)).sum() for share in shares])
        return float(lines * EVENTS_PER_LINE + counts)

    low, high = 0.0, events
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if expected(middle) < events else (low, middle)
    return low / fitted().lines_per_basket / minutes * 1440
