"""What a forecast is made from: one row for each item and each of the next days.

Everything of a row is known on the morning of its origin: sales before it, and plans (calendar,
promotions, prices) for the days after.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tillstream.ml.calendar import holiday_distance, weekday
from tillstream.ml.groups import LEAST_RATE, LONG_AGO, PROFILE_DAYS, Group, last_positive, running
from tillstream.ml.panel import Panel

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

HORIZON_DAYS: Final = 7
PART_ITEMS: Final = 200_000
WINDOWS: Final = (7, 14, 30, 90)
# The shelf's own rate counts as so many days of its kind's rate until it has a history.
_PRIOR_DAYS: Final = 14.0

NAMES: Final = (
    *(f"item_rate_{days}" for days in WINDOWS),
    "item_days_with_sales_30",
    "item_days_with_sales_90",
    "item_size",
    "item_in_stock_30",
    "days_since_sale",
    "days_listed",
    "item_squares",
    *(f"product_rate_{days}" for days in (7, 30, 90)),
    *(f"store_trend_{days}" for days in (7, 30)),
    *(f"category_trend_{days}" for days in (7, 30)),
    "shelf_rate_30",
    "shelf_rate_90",
    "product_days_since_sale",
    "promotion_usual",
    "price_usual",
    "anchor",
    "horizon",
    "weekday",
    "day_of_month",
    "days_to_holiday",
    "days_since_holiday",
    "weekday_index",
    "promotion",
    "promotion_more",
    "price",
    "price_over_usual",
)


@dataclass(frozen=True, slots=True)
class Rows:
    """`values` (items, days, len(NAMES)); `anchor` (items, days) units a day that a simple estimate
    expects, which the model corrects; `size` (items,) units of a usual sale."""

    values: Floats
    anchor: Floats
    size: Floats


class History:
    """Running sums of a panel, so that any window before any day costs one subtraction."""

    def __init__(self, panel: Panel, *, country: str = "US") -> None:
        self.panel = panel
        self.country = country
        self._units = running(panel.units * (panel.in_stock > 0))
        self._exposure = running(panel.in_stock)
        self._some = running(panel.units > 0)
        self._squares = running(panel.units**2)
        self._promotion = running(panel.promotion)
        self._price = running(panel.price)
        shelf = panel.store * (int(panel.category.max()) + 1) + panel.category
        self._groups = {
            name: Group.of(panel, codes)
            for name, codes in {
                "product": panel.product,
                "store": panel.store,
                "category": panel.category,
                "shelf": np.unique(shelf, return_inverse=True)[1],
            }.items()
        }
        self._last_sale = last_positive(panel.units)
        days = panel.first_day + np.arange(panel.days)
        # A shop that was shut one Thursday says nothing of Thursdays.
        self._ordinary = holiday_distance(days, country)[0] > 0
        listed = panel.in_stock > 0
        self._listed = np.where(listed.any(axis=1), listed.argmax(axis=1), panel.days)

    def sale_days(self, origin: int) -> Floats:
        """Days on which each item was sold before day `origin`, (items,)."""
        return self._some[:, origin]

    def before(self, origin: int, *, days: int = HORIZON_DAYS) -> Rows:
        """The rows of the `days` from day `origin` (counted from the panel's first) on."""
        return next(self.parts(origin, days=days, size=max(1, self.panel.items)))

    def parts(
        self, origin: int, *, days: int = HORIZON_DAYS, size: int = PART_ITEMS
    ) -> Iterator[Rows]:
        """The same for `size` items after another: a large chain's rows do not fit into memory."""
        panel, now = self.panel, _Past(self, origin)
        day = panel.first_day + origin + np.arange(days)
        to_holiday, since_holiday = holiday_distance(day, self.country)
        index = now.weekday_index(weekday(day))
        promotion = _planned(panel.promotion, origin, days)
        price = _planned(panel.price, origin, days)
        anchor = np.maximum(now.anchor_rate[:, None] * index, LEAST_RATE)
        fixed = now.columns()
        usual_promotion, usual_price = (column[:, None] for column in fixed[-2:])
        moving = (
            np.log(anchor),
            np.arange(1, days + 1),
            weekday(day),
            _day_of_month(day),
            to_holiday,
            since_holiday,
            index,
            promotion,
            promotion - usual_promotion,
            price,
            price / np.maximum(usual_price, 0.01),
        )
        # Broadcasting copies nothing.
        columns = [
            np.broadcast_to(column, (panel.items, days))
            for column in (*(column[:, None] for column in fixed), *moving)
        ]
        for start in range(0, max(1, panel.items), size):
            part = slice(start, start + size)
            values = np.empty((len(now.size[part]), days, len(NAMES)), dtype=np.float32)
            for at, column in enumerate(columns):
                values[:, :, at] = column[part]
            yield Rows(values, anchor[part].astype(np.float32), now.size[part])


class _Past:
    """What the history says before one day."""

    def __init__(self, history: History, origin: int) -> None:
        self._h = history
        self._origin = origin
        groups = history._groups
        units = {days: self._window(history._units, days) for days in (*WINDOWS, 180)}
        exposure = {days: self._window(history._exposure, days) for days in (*WINDOWS, 180)}
        self.kind = self._kind(groups)
        self.rate = {
            days: (units[days] + _PRIOR_DAYS * self.kind) / (exposure[days] + _PRIOR_DAYS)
            for days in units
        }
        self.anchor_rate = self.rate[90]
        some = self._window(history._some, 180)
        self.size = ((units[180] + 2.0) / (some + 2.0)).astype(np.float32)

    def _kind(self, groups: dict[str, "Group"]) -> Floats:
        """Units a day that items like each one sell: those of its category in its store, times how
        much better the product sells than its category, half trusted (on the log scale)."""
        origin = self._origin
        category = groups["category"].rate(origin, 90)
        shelf = groups["shelf"].drawn(origin, 90, towards=category)
        product = groups["product"].drawn(origin, 90, towards=category)
        ratio = product / np.maximum(category, LEAST_RATE)
        return np.maximum(shelf * np.sqrt(ratio), LEAST_RATE)

    def columns(self) -> list[Floats]:
        h, origin = self._h, self._origin
        product, store, category, shelf = (
            h._groups[name] for name in ("product", "store", "category", "shelf")
        )
        kind = self.kind

        def log(values: Floats) -> Floats:
            return np.log(np.maximum(values, LEAST_RATE))

        since = origin - h._last_sale[:, origin]
        return [
            *(log(self.rate[days]) for days in WINDOWS),
            self._window(h._some, 30),
            self._window(h._some, 90),
            np.log(self.size),
            self._window(h._exposure, 30) / 30.0,
            np.minimum(since, LONG_AGO),
            np.minimum(np.maximum(origin - h._listed, 0), LONG_AGO),
            np.log(self._window(h._squares, 90) + 1.0),
            *(log(product.rate(origin, days)) for days in (7, 30, 90)),
            *(log(store.rate(origin, days)) - log(store.rate(origin, 90)) for days in (7, 30)),
            *(log(category.rate(origin, d)) - log(category.rate(origin, 90)) for d in (7, 30)),
            log(shelf.rate(origin, 30)),
            log(kind),
            np.minimum(origin - product.last_sale(origin), LONG_AGO),
            self._mean(h._promotion, 90),
            self._mean(h._price, 90),
        ]

    def weekday_index(self, days: Ints) -> Floats:
        """How much better than its average day each weekday of a store and of a category is."""
        first = max(0, self._origin - PROFILE_DAYS)
        window = np.arange(first, self._origin)[self._h._ordinary[first : self._origin]]
        which = weekday(self._h.panel.first_day + window)
        store = self._h._groups["store"].weekday_index(window, which)
        category = self._h._groups["category"].weekday_index(window, which)
        return np.asarray(np.sqrt(store[:, days] * category[:, days]))

    def _window(self, running: Floats, days: int) -> Floats:
        since = max(0, self._origin - days)
        return np.asarray(running[:, self._origin] - running[:, since])

    def _mean(self, running: Floats, days: int) -> Floats:
        return np.asarray(self._window(running, days) / max(1, min(days, self._origin)))


def _planned(values: Floats, origin: int, days: int) -> Floats:
    """The plan of the next days; what is not planned stays as it was last."""
    last = values.shape[1] - 1
    return values[:, np.minimum(origin + np.arange(days), last)]


def _day_of_month(day: Ints) -> Ints:
    dates = day.astype("datetime64[D]")
    return np.asarray((dates - dates.astype("datetime64[M]")).astype(np.int64) + 1)
