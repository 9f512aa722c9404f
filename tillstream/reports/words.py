"""How a value is written for people."""

import math
from datetime import datetime
from decimal import Decimal
from typing import Any

from tillstream.reports.panel import Unit

NOTHING = "–"


def written(value: Any, unit: Unit) -> str:
    """A value in its unit; a dash for none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOTHING
    if isinstance(value, datetime):
        # The engine's zero: there is no such moment.
        return f"{value:%Y-%m-%d %H:%M}" if value.year > 1970 else NOTHING
    if not isinstance(value, int | float | Decimal):
        return str(value)
    match unit:
        case "money":
            return f"{'-' if value < 0 else ''}${abs(value):,.2f}"
        case "share":
            return f"{value * 100:.1f} %"
        case "days":
            return f"{value:,.1f} d"
        case "seconds":
            return f"{value:,.0f} s"
        case "ratio":
            return f"{value:,.2f}"
        case _:
            return f"{value:,.0f}"
