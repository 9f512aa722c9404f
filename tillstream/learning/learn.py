"""From evidence to what is believed of every item, and of how the chain works."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tillstream.demand.belief import Belief
from tillstream.demand.rhythm import Rhythm
from tillstream.demand.shrinkage import Items, expected
from tillstream.learning import stockerror
from tillstream.learning.evidence import Evidence, Names, ints, rows_of
from tillstream.learning.exposure import HOUR_MS, Exposure, local_weekday, utc_offset_ms
from tillstream.learning.stockerror import StockError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DEFAULT_ELASTICITY = 1.5
_LEAST_PROMOTED_UNITS = 200.0
# As if so many on-time orders of a supplier had been seen at the chain's own rate.
_PRIOR_ORDERS = 50.0
_DEFAULT_LATE_SHARE = 0.05
_MOST_LATE_DAYS = 7


@dataclass(frozen=True, slots=True)
class Lateness:
    """How often a supplier's orders come late; and by how many days late orders do, on average."""

    by_supplier: dict[str, float]
    share: float
    mean_days: float


# Until orders have come that could have been late.
UNKNOWN_LATENESS = Lateness({}, _DEFAULT_LATE_SHARE, 2.0)


@dataclass(frozen=True, slots=True)
class Learned:
    """`belief` has a row for each item of the evidence; demand answers to a price ratio r by
    r ** -elasticity."""

    as_of_ms: int
    rhythm: Rhythm
    elasticity: float
    belief: Belief
    stock_error: StockError
    lateness: Lateness


def learn(evidence: Evidence, *, half_life_days: float) -> Learned:
    items = evidence.items
    zones = Names.of(items["time_zone"])
    rhythm = _rhythm(evidence, zones)
    span = evidence.since_ms, evidence.as_of_ms
    plain = Exposure.of(rhythm.weights, *span, zones=zones.values)
    recent = Exposure.of(rhythm.weights, *span, zones=zones.values, half_life_days=half_life_days)
    start_ms = listed_since(items, evidence.since_ms)
    row, from_ms, until_ms = empty_times(evidence, start_ms)
    promoted = _promotions(evidence)

    def in_stock(exposure: Exposure) -> Floats:
        end = np.full(items.num_rows, evidence.as_of_ms)
        total = exposure.between(zones.number, start_ms, end)
        out = exposure.between(zones.number[row], from_ms, until_ms)
        np.subtract.at(total, row, out)
        return np.maximum(total, 0.0)

    units = _filled(items["units"])
    squares = _filled(items["squares"])
    days = in_stock(plain)
    fixed, growing = _dispersion(units, squares, days)
    rate = units / np.maximum(days, 1.0)
    dispersion = fixed + growing * rate
    elasticity = _elasticity(promoted, plain, zones.number, rate, _filled(items["promoted"]))
    exposure = in_stock(recent)
    at, p_from, p_until, ratio = promoted
    more = (ratio**-elasticity - 1) * recent.between(zones.number[at], p_from, p_until)
    np.add.at(exposure, at, more)
    sold = np.maximum(_filled(items["recent"]), 0.0)
    prior = expected(
        Items(
            store=Names.of(items["store_id"]).number,
            product=Names.of(items["product_id"]).number,
            category=Names.of(items["category"]).number,
            units=sold,
            exposure=exposure,
            dispersion=dispersion,
        )
    )
    # What the chain itself expects of an item goes before what its like sell.
    given = _filled(items["given_daily_units"])
    rate = np.where(given > 0, given, prior.rate)
    belief = Belief(
        a=prior.shape + sold / dispersion,
        b=prior.shape / rate + exposure / dispersion,
        dispersion=fixed + growing * rate,
    )
    return Learned(
        as_of_ms=evidence.as_of_ms,
        rhythm=rhythm,
        elasticity=elasticity,
        belief=belief,
        stock_error=stockerror.learned(
            ints(evidence.counts["recorded"]), ints(evidence.counts["found"])
        ),
        lateness=_lateness(evidence.arrivals),
    )


def _rhythm(evidence: Evidence, zones: Names) -> Rhythm:
    """From the lines sold in each UTC hour, by the local time of their stores. An hour of the week
    counts by how often it has passed, and a weekday that has not is taken for an average one."""
    hours = evidence.hours
    names, at_ms, lines = hours["time_zone"].to_pylist(), ints(hours["hour_ms"]), hours["lines"]
    if not len(at_ms):
        return Rhythm.flat()
    sold, passed = np.zeros((7, 24)), np.zeros((7, 24))
    since_ms = np.arange(at_ms.min(), evidence.as_of_ms, HOUR_MS)
    for zone in zones.values:
        rows = np.flatnonzero(np.array([name == zone for name in names], dtype=bool))
        np.add.at(sold, _hour_of_week(zone, at_ms[rows]), lines.to_numpy()[rows])
        np.add.at(passed, _hour_of_week(zone, since_ms), 1.0)
    often = sold / np.maximum(passed, 1.0)
    seen = passed.all(axis=1)
    if seen.any():
        often[~seen] = often[seen].mean(axis=0)
    else:
        often[:] = sold.sum(axis=0) / np.maximum(passed.sum(axis=0), 1.0)
    return Rhythm.fitted(often * sold.sum() / often.sum())


def _hour_of_week(zone: str, at_ms: Ints) -> tuple[Ints, Ints]:
    local_ms = at_ms + utc_offset_ms(zone, at_ms)
    return local_weekday(local_ms), np.asarray(local_ms // HOUR_MS % 24)


def listed_since(items: pa.Table, since_ms: int) -> Ints:
    """A shelf whose first report found stock had been there before: since its store is known."""
    first = ints(items["first_seen_ms"])
    store = Names.of(items["store_id"]).number
    store_first = np.full(int(store.max(initial=-1)) + 1, np.iinfo(np.int64).max)
    np.minimum.at(store_first, store, first)
    had_stock = ints(items["first_on_hand"]) > 0
    return np.maximum(np.where(had_stock, store_first[store], first), since_ms)


def empty_times(evidence: Evidence, start_ms: Ints) -> tuple[Ints, Ints, Ints]:
    """(row, from_ms, until_ms) of the times a shelf was empty by its books."""
    turns = evidence.turns
    row = rows_of(evidence.items, turns)
    at_ms = ints(turns["at_ms"])
    is_empty = turns["is_empty"].to_numpy().astype(bool)
    known = row >= 0
    row, at_ms, is_empty = row[known], at_ms[known], is_empty[known]
    if not len(row):
        return row, at_ms, at_ms
    new_item = np.append(True, row[1:] != row[:-1])
    last_of_item = np.append(row[1:] != row[:-1], True)
    next_ms = np.append(at_ms[1:], 0)
    until = np.where(last_of_item, evidence.as_of_ms, next_ms)
    filled_first = new_item & ~is_empty
    return (
        np.concatenate([row[is_empty], row[filled_first]]),
        np.concatenate([at_ms[is_empty], start_ms[row[filled_first]]]),
        np.concatenate([until[is_empty], at_ms[filled_first]]),
    )


def _promotions(evidence: Evidence) -> tuple[Ints, Ints, Ints, Floats]:
    """(row, from_ms, until_ms, price ratio), each cut to the span."""
    found = evidence.promotions
    row = rows_of(evidence.items, found)
    known = row >= 0
    return (
        row[known],
        np.maximum(ints(found["from_ms"])[known], evidence.since_ms),
        np.minimum(ints(found["until_ms"])[known], evidence.as_of_ms),
        np.clip(found["ratio"].to_numpy()[known], 0.1, 1.0),
    )


def _elasticity(
    promoted: tuple[Ints, Ints, Ints, Floats],
    exposure: Exposure,
    zone: Ints,
    rate: Floats,
    sold: Floats,
) -> float:
    """The one at which items would have sold in promotions what they did. Rates include the
    promotions, which are few."""
    row, from_ms, until_ms, ratio = promoted
    total = float(sold[np.unique(row)].sum())
    if total < _LEAST_PROMOTED_UNITS:
        return DEFAULT_ELASTICITY
    base = exposure.between(zone[row], from_ms, until_ms) * rate[row]
    low, high = 0.0, 4.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if (base * ratio**-middle).sum() < total else (low, middle)
    return (low + high) / 2


def _dispersion(units: Floats, squares: Floats, days: Floats) -> tuple[float, float]:
    """Variance over mean of a day's demand is `fixed` + `growing` * mean: customers buy several at
    once, and days differ. A regression over items that sold on at least a few days."""
    usable = (days >= 7) & (units >= 5)
    if usable.sum() < 20:
        return 1.5, 0.0
    n = days[usable]
    mean = units[usable] / n
    variance = np.maximum(squares[usable] / n - mean**2, 0.0) * n / (n - 1)
    ratio = variance / mean
    # Ratios scatter less where more was sold; a few items with a history of their own do not count.
    ratio = np.minimum(ratio, np.quantile(ratio, 0.99))
    weight = np.minimum(units[usable], 100.0)
    design = np.stack([np.ones_like(mean), mean], axis=1)
    scaled = design * weight[:, None]
    fixed, growing = np.linalg.solve(scaled.T @ design, scaled.T @ ratio)
    if growing < 0:
        fixed, growing = float((ratio * weight).sum() / weight.sum()), 0.0
    return max(float(fixed), 1.0), float(growing)


def _lateness(arrivals: pa.Table) -> Lateness:
    if not arrivals.num_rows:
        return UNKNOWN_LATENESS
    days = np.clip(arrivals["late_days"].to_numpy(), 0, _MOST_LATE_DAYS)
    late = days >= 1
    share = float((late.sum() + _DEFAULT_LATE_SHARE * 20) / (len(late) + 20))
    suppliers = Names.of(arrivals["supplier_id"])
    size = len(suppliers.values)
    seen = np.bincount(suppliers.number, minlength=size)
    came_late = np.bincount(suppliers.number, weights=late, minlength=size)
    shares = (came_late + _PRIOR_ORDERS * share) / (seen + _PRIOR_ORDERS)
    mean_days = float(days[late].mean()) if late.any() else UNKNOWN_LATENESS.mean_days
    return Lateness(dict(zip(suppliers.values, shares.tolist(), strict=True)), share, mean_days)


def _filled(column: pa.ChunkedArray) -> Floats:
    return np.asarray(column.fill_null(0).to_numpy(), dtype=np.float64)
