"""An explanation in words, for someone who knows shops and not statistics."""

from collections.abc import Sequence
from datetime import datetime

from streaming.alerts import pace
from tillstream.watching.explain import Explanation, Records, Sales, Score, Stock


def sentences(found: Explanation) -> list[tuple[str, str]]:
    """(what, in words) for someone who knows shops, in the order in which one asks."""
    lines = [("stock", _stock_words(found.stock))]
    if found.score is None or found.sales is None:
        return [*lines, ("risk", "not scored yet: the stream has not come to it")]
    score = found.score
    lines += [
        ("demand", _demand_words(found, score, found.sales)),
        ("supply", _supply_words(score)),
        ("risk", _risk_words(score)),
        ("order", f"when {score.reorder_point} or fewer are left or on their way"),
        ("alert", _alert_words(found, score)),
    ]
    if score.low_confidence:
        lines.append(("assumed", _assumed_words(score)))
    if found.prior.as_of is not None and found.prior.as_of > score.evidence_since:
        lines.append(
            ("note", "demand was learned anew since this score; the next one begins from that")
        )
    if score.on_hand != found.stock.on_hand:
        lines.append(
            (
                "note",
                f"the score was made when {score.on_hand} were on hand; the next one follows",
            )
        )
    return lines


def _demand_words(found: Explanation, score: Score, sales: Sales) -> str:
    words = (
        f"about {pace(score.daily_units)}: {_count(sales.units, 'unit')} sold in "
        f"{_count(sales.lines, 'purchase')} since {_when(sales.since)}{_from(sales.records)}, with "
        f"stock on the shelf for {span(score.evidence_days)} of that; "
    )
    weight = span(found.prior.weight_days)
    if found.prior.given:
        words += f"before that {pace(found.prior.daily_units)}, which counts like {weight} of sales"
    else:
        words += (
            f"nothing was known before, so {pace(found.prior.daily_units)} is taken for granted "
            f"like {weight} of sales"
        )
    if (seen := found.sale_days) is not None:
        words += (
            f"; sold on {seen.sold_on} of the last {_count(seen.days, 'day')}"
            f"{_PATTERNS[seen.pattern] if seen.sold_on else ''},"
            f" and by those alone {pace(seen.daily_units)}"
        )
    if score.promotion_boost > 1.0:
        words += f"; {score.promotion_boost:.1f} times as much while its price is reduced"
    return words


_PATTERNS = {
    "smooth": ", steadily",
    "erratic": ", in very different amounts",
    "intermittent": ", now and then",
    "lumpy": ", now and then and in very different amounts",
}


def _supply_words(score: Score) -> str:
    words = (
        f"an order placed now arrives {_when(score.arrives_at)} (the supplier takes "
        f"{span(score.lead_time_days)}, and is late with {score.late_share:.0%} of orders)"
    )
    if score.held_up_days > 0:
        words += f"; it has delivered nothing for {span(score.held_up_days)}"
    if score.next_receipt_at is None:
        return f"{words}; nothing is known to come before"
    units = f"{_count(score.coming_units, 'unit')} are" if score.coming_units != 1 else "1 unit is"
    return f"{words}; {units} due before, the first {_when(score.next_receipt_at)}"


def _risk_words(score: Score) -> str:
    lost = ""
    if score.expected_lost_units >= 0.05:
        lost = (
            f"; about {score.expected_lost_units:.1f} units asked for in vain by then, which is "
            f"{score.expected_lost_margin:.2f} of margin"
        )
    if score.on_hand <= 0:
        return f"the shelf is empty by the books{lost}; as of {_when(score.as_of)}"
    words = (
        f"{chance(score.risk)} that the shelf is empty before that order arrives; what is there "
        f"lasts about {span(score.empty_p50_days)} ({span(score.empty_p10_days)} to "
        f"{span(score.empty_p90_days)} in eight of ten cases)"
    )
    if score.spoilt_risk > 0 and score.spoilt_risk >= score.risk:
        words += "; less by sales than by what must be thrown away at the end of its life"
    return f"{words}{lost}; as of {_when(score.as_of)}"


_ASSUMED = {
    "lead time": "a lead time of {0.lead_time_days:.1f} days, as the supplier's is not known",
    "cost": "the usual margin of its department, as its cost is not known",
    "price": "a price of 1, as it was never sold",
    "history": "how much it sells, as nothing was known before the stream began",
}


def _assumed_words(score: Score) -> str:
    return "; ".join(_ASSUMED[name].format(score) for name in score.low_confidence.split(", "))


def chance(share: float) -> str:
    """A chance in per cent, never a flat 0 or 100 %: nothing on a shelf is that sure."""
    if share < 0.005:
        return "less than 1%"
    return "more than 99%" if share > 0.995 else f"{share:.0%}"


def span(days: float) -> str:
    """A length of time as a shopkeeper says it."""
    if days < 1 / 24:
        return "less than an hour"
    if days < 0.95:
        return _count(max(round(days * 24), 1), "hour")
    if days < 9.95:
        number = f"{days:.1f}".removesuffix(".0")
        return f"{number} day" if number == "1" else f"{number} days"
    if days < 60:
        return f"{days:.0f} days"
    return f"{days / 30.4:.0f} months" if days < 730 else "more than two years"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _stock_words(stock: Stock) -> str:
    return (
        f"{stock.on_hand} on hand, says the report of {_when(stock.at)} "
        f"({stock.reason} {stock.change:+d}; {stock.record})"
    )


def _alert_words(found: Explanation, score: Score) -> str:
    alert = found.alert
    if alert is not None and alert.state != "resolved":
        stays = f"it ends at {found.resolve_below:.0%} or less"
        return (
            f"open since {_when(alert.opened_at)} ({alert.alert_id}, step {alert.version}, "
            f"{alert.state}): the risk reached {found.open_above:.0%}; {stays}"
        )
    before = f"; the last one ended {_when(alert.at)}" if alert is not None else ""
    if score.risk >= found.open_above:
        return f"none yet, though the risk has reached {found.open_above:.0%}{before}"
    return f"none: {chance(score.risk)} is below the {found.open_above:.0%} that open one{before}"


def _from(records: Sequence[Records]) -> str:
    return f" ({', '.join(map(str, records))})" if records else ""


def _when(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
