"""Why something is suggested, in the words of a shop."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from tillstream.demand.horizon import Floats, Horizon
from tillstream.planning.items import Items

_WEEK = 6.0
_LONG_DAYS = 60.0


@dataclass(frozen=True, slots=True)
class Wording:
    """Sentences about rows of `items`, as seen at `now` on the stores' clocks."""

    items: Items
    daily: Floats
    arrives_days: Floats
    now: datetime

    @classmethod
    def of(cls, items: Items, horizon: Horizon, *, now: datetime) -> "Wording":
        daily = items.belief.a / items.belief.b
        return cls(items=items, daily=daily, arrives_days=horizon.lead_days.min(axis=1), now=now)

    def order(self, row: int, units: int) -> str:
        pack = int(self.items.limits.pack_units[row])
        packs = units // pack
        what = f"order {packs} pack{'s' * (packs > 1)} of {pack}" if pack > 1 else f"order {units}"
        return f"{self._facts(row)}; {what}{self._doubt(row)}"

    def transfer(self, row: int, units: int, giver: str) -> str:
        return f"{self._facts(row)}; fetch {units} from {giver}, which has spare{self._doubt(row)}"

    def blocked(self, row: int) -> str:
        """Why nothing can be ordered although it is, or may be, needed."""
        if not self.items.stock_known[row]:
            return f"{_rate(float(self.daily[row]))}; count it before ordering{self._doubt(row)}"
        limits = self.items.limits
        least = max(int(limits.min_order_units[row]), int(limits.pack_units[row]))
        life = float(limits.shelf_life_days[row])
        sells = float(self.daily[row]) * life
        if sells < least:
            why = f"{least}, the least to order, would not sell within {life:g} days of shelf life"
        else:
            why = (
                f"{least}, the least to order, do not fit the shelf or would spoil behind the rest"
            )
        return f"{self._facts(row)}; {why}{self._doubt(row)}"

    def _facts(self, row: int) -> str:
        parts = [_rate(float(self.daily[row])), self._stock(row)]
        if self.items.on_hand[row] > 0:
            parts.append(self._lasts(row))
        return "; ".join(parts)

    def _stock(self, row: int) -> str:
        on_hand, coming = float(self.items.on_hand[row]), float(self.items.on_order_units[row])
        stock = "none on hand" if on_hand <= 0 else f"{on_hand:.0f} on hand"
        if coming <= 0:
            return stock
        due = float(self.items.next_receipt_days[row])
        when = f"due {self._day(due)}" if due < _LONG_DAYS else "on the way"
        return f"{stock}, {coming:.0f} {when}"

    def _lasts(self, row: int) -> str:
        """Until when, at the usual pace; a delivery that comes too late for that does not count."""
        on_hand, rate = max(float(self.items.on_hand[row]), 0.0), float(self.daily[row])
        coming, due = (
            float(self.items.on_order_units[row]),
            float(self.items.next_receipt_days[row]),
        )
        runs_out = on_hand / rate
        if coming > 0 and due <= runs_out:
            runs_out = (on_hand + coming) / rate
        elif coming > 0 and due < _LONG_DAYS:
            return f"runs out {self._day(runs_out)}, before that comes"
        if runs_out >= _LONG_DAYS:
            return "lasts for months"
        lasts = f"lasts until {self._day(runs_out)}"
        if coming > 0 and due > runs_out:
            lasts += " without that"
        arrives = float(self.arrives_days[row])
        return lasts if arrives <= runs_out else f"{lasts}; an order comes {self._day(arrives)}"

    def _day(self, days: float) -> str:
        at = self.now + timedelta(days=min(days, _LONG_DAYS))
        apart = (at.date() - self.now.date()).days
        if apart < 2:
            return ("today", "tomorrow")[apart]
        return f"{at:%A}" if apart <= _WEEK else f"{at.day} {at:%b}"

    def _doubt(self, row: int) -> str:
        assumed = self.items.assumed[row]
        return f" ({assumed})" if assumed else ""


def _rate(daily: float) -> str:
    if daily >= 0.95:
        return f"sells {daily:.1f} a day"
    if daily >= 1 / 60:
        days = round(1 / daily)
        return f"sells one every {days} days" if days > 1 else "sells one a day"
    return "hardly sells"
