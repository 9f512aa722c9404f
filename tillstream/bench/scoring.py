"""How fast shelves are scored: everything a score says, of made-up shelves as a chain has them."""

import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from streaming.risk import levels
from tillstream.demand.belief import Belief
from tillstream.demand.expiry import Goods
from tillstream.demand.rhythm import Rhythm
from tillstream.learning.exposure import DAY_MS, HOUR_MS
from tillstream.learning.shelves import Chain, Shelves, look_ahead
from tillstream.learning.stockerror import learned

# One turn of one thread; what a turn needs is let go of after it.
_CHUNK = 65_536
_AS_OF_MS = 1_773_100_800_000 + 9 * HOUR_MS  # a Tuesday at nine
_ORDERED_SHARE = 0.3
_PERISHABLE_SHARE = 0.2
_PROMOTED_SHARE = 0.03
_OPEN_HOURS = slice(8, 22)


@dataclass(frozen=True, slots=True)
class ScoreRun:
    """What one run of the bench saw. `busy_s` is processor time; memory is resident, at its peak,
    of the whole process."""

    items: int
    threads: int
    wall_s: float
    busy_s: float
    peak_bytes: int
    mean_risk: float

    @property
    def items_per_s(self) -> float:
        return self.items / self.wall_s

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"items_per_s": self.items_per_s}


def measure_scoring(
    *, items: int, threads: int, on_share: Callable[[float], None] = lambda _: None
) -> ScoreRun:
    """Score `items` shelves: risk with receipts, wrong books, lateness and expiry, what will be
    lost, how long stock lasts, and reorder points. Making shelves up is not in the figures."""
    chain = made_up_chain()
    sizes = [min(_CHUNK, items - start) for start in range(0, items, _CHUNK)]
    # The table of clumps is made once a process.
    _score(made_up_shelves(10, seed=1), chain)
    done, risk = 0, 0.0
    busy_s = wall_s = 0.0
    # Shelves are made a round at a time, so that they are never all in memory.
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(sizes), threads):
            turn = sizes[start : start + threads]
            shelves = [made_up_shelves(size, seed=start + at) for at, size in enumerate(turn)]
            began, busy = time.perf_counter(), time.process_time()
            risk += sum(pool.map(lambda one: _score(one, chain), shelves))
            wall_s += time.perf_counter() - began
            busy_s += time.process_time() - busy
            done += sum(turn)
            on_share(done / items)
    return ScoreRun(items, threads, wall_s, busy_s, _peak_bytes(), risk / items)


def _peak_bytes() -> int:
    """What this process has had resident at most. Linux counts it in KiB, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _score(shelves: Shelves, chain: Chain) -> float:
    """Sum of the risks."""
    outlook = look_ahead(shelves, chain)
    levels(
        shelves.belief,
        on_hand=shelves.recorded.astype(np.float64),
        lead_time_days=shelves.lead_days,
    )
    return float(outlook.risk.sum())


def made_up_chain() -> Chain:
    """Open from eight to ten; of a hundred counted shelves, thirty hold less than the books say."""
    weights = np.zeros((7, 24))
    weights[:, _OPEN_HOURS] = 1.0
    rng = np.random.default_rng(3)
    recorded = rng.integers(1, 60, 20_000)
    missing = np.where(rng.random(20_000) < 0.3, rng.geometric(0.4, 20_000), 0)
    return Chain(
        rhythm=Rhythm(weights * (7.0 / weights.sum())),
        late_ms=2 * DAY_MS,
        stock_error=learned(recorded, np.maximum(recorded - missing, 0)),
    )


def made_up_shelves(n: int, *, seed: int) -> Shelves:
    """Most sell less than once a day, and some 6 % run out, as in a quiet week of the simulator;
    three in ten have an order on its way, two in ten hold what must be sold within days."""
    rng = np.random.default_rng(seed)
    daily = np.exp(rng.normal(-1.2, 1.2, n))
    known_days = rng.uniform(10.0, 40.0, n)
    lead_days = rng.integers(1, 5, n).astype(np.float64)
    cover = rng.gamma(2.0, 4.0, n)
    recorded = np.rint(daily * (lead_days + cover) + rng.gamma(2.0, 2.0, n)).astype(np.int64)
    ordered = np.flatnonzero(rng.random(n) < _ORDERED_SHARE)
    life_days = np.where(rng.random(n) < _PERISHABLE_SHARE, rng.integers(3, 15, n), 0)
    fresh = np.flatnonzero(life_days > 0)
    promoted = rng.random(n) < _PROMOTED_SHARE
    return Shelves(
        as_of_ms=_AS_OF_MS,
        belief=Belief(daily * known_days, known_days, 1.3 + 0.1 * daily),
        recorded=recorded,
        lead_days=lead_days,
        late_share=rng.choice([0.02, 0.05, 0.1], n),
        held_ms=np.where(rng.random(n) < 0.01, 2 * DAY_MS, 0),
        offset_ms=np.full(n, -6 * HOUR_MS),
        truck_ms=np.full(n, 10 * HOUR_MS),
        life_days=life_days,
        boost=np.where(promoted, 1.5, 1.0),
        boost_until_ms=np.where(promoted, _AS_OF_MS + 3 * DAY_MS, _AS_OF_MS),
        coming=Goods(
            ordered,
            _AS_OF_MS + rng.integers(1, 4 * 24, len(ordered)) * HOUR_MS,
            np.maximum(np.rint(daily[ordered] * 5), 1.0),
        ),
        came=Goods(
            fresh,
            _AS_OF_MS - rng.integers(1, 3 * 24, len(fresh)) * HOUR_MS,
            np.maximum(np.rint(recorded[fresh] / 2.0), 1.0),
        ),
    )
