"""How good what is predicted turned out to be."""

from tillstream.reports.panel import IN_REGION, REGION, Dashboard, Panel, complete_until

_OUTCOMES = f"bi_risk_outcomes WHERE as_of BETWEEN $__fromTime_ms AND $__toTime_ms AND {IN_REGION}"
_BAND = "concat(toString(band * 10), ' to ', toString(band * 10 + 10), ' %')"
_DEMAND = f"bi_demand_outcomes WHERE $__dateFilter(date) AND {IN_REGION}"


def _level(number: int, name: str, keys: str) -> str:
    return (
        f"SELECT {number} AS rank, '{name}' AS level, sum(abs(s - p)) / sum(s) AS wape,"
        " sum(p - s) / sum(s) AS bias, count() AS series_days FROM"
        f" (SELECT sum(sold) AS s, sum(predicted) AS p FROM {_DEMAND} GROUP BY {keys})"
    )


_WITH_CATEGORY = (
    "SELECT 2 AS rank, 'category in a store' AS level, sum(abs(s - p)) / sum(s) AS wape,"
    " sum(p - s) / sum(s) AS bias, count() AS series_days FROM"
    " (SELECT sum(sold) AS s, sum(predicted) AS p FROM"
    f" (SELECT date, store_id, product_id, sold, predicted FROM {_DEMAND}) AS o"
    " INNER JOIN bi_products AS d ON d.product_id = o.product_id"
    " GROUP BY date, store_id, category)"
)

ML = Dashboard(
    "ml",
    "ML performance",
    "Can the predictions be trusted?",
    28,
    variables=(REGION,),
    panels=(
        Panel(
            "Scores with an outcome",
            "stat",
            f"SELECT count() AS scores FROM {_OUTCOMES}",
            "Of shelves with stock, whose lead time is over.",
            width=5,
            height=4,
        ),
        Panel(
            "Brier score",
            "stat",
            f"SELECT avg(pow(risk - went_empty, 2)) AS brier FROM {_OUTCOMES}",
            "Mean squared error of the risk; 0 is perfect.",
            unit="ratio",
            width=5,
            height=4,
        ),
        Panel(
            "… of always saying the mean",
            "stat",
            f"SELECT avg(went_empty) * (1 - avg(went_empty)) AS brier FROM {_OUTCOMES}",
            "The Brier score of a risk that is the same for every shelf: what skill is judged by.",
            unit="ratio",
            width=5,
            height=4,
        ),
        Panel(
            "Bias of demand",
            "stat",
            f"SELECT sum(predicted - sold) / sum(sold) AS bias FROM {_DEMAND}",
            "Above 0, more was expected than was sold. Sales stop when a shelf is empty, so a"
            " little above 0 is right.",
            unit="share",
            steps=((-1.0, "bad"), (-0.1, "good"), (0.1, "warn"), (0.3, "bad")),
            width=5,
            height=4,
        ),
        complete_until(),
        Panel(
            "Calibration of the risk",
            "bar",
            f"SELECT {_BAND} AS predicted,"
            " avg(risk) AS said, avg(went_empty) AS came FROM (SELECT risk, went_empty,"
            f" least(9, toInt32(floor(risk * 10))) AS band FROM {_OUTCOMES})"
            " GROUP BY band ORDER BY band",
            "Scores by what they said, and the share of shelves that then emptied. Well calibrated,"
            " both are equal. The live score leaves open orders out, so shelves that a delivery"
            " under way will fill look riskier than they are.",
            unit="share",
            width=14,
            height=9,
        ),
        Panel(
            "Scores in each band",
            "bar",
            f"SELECT {_BAND} AS predicted,"
            f" count() AS scores FROM (SELECT least(9, toInt32(floor(risk * 10))) AS band"
            f" FROM {_OUTCOMES}) GROUP BY band ORDER BY band",
            "How much each pair beside it rests on.",
            width=10,
            height=9,
        ),
        Panel(
            "Accuracy by level",
            "table",
            "SELECT level, wape, bias, series_days FROM ("
            + " UNION ALL ".join(
                (
                    _level(1, "shelf", "date, store_id, product_id"),
                    _WITH_CATEGORY,
                    _level(3, "store", "date, store_id"),
                    _level(4, "chain", "date"),
                )
            )
            + ") ORDER BY rank",
            "Of daily units: absolute errors over units sold (WAPE), and errors over units sold"
            " (bias). The belief is one rate a day: it knows no weekdays.",
            units={"level": "text", "wape": "share", "bias": "share"},
        ),
        Panel(
            "Drift: bias by day",
            "line",
            "SELECT toDateTime(date, 'UTC') AS time, sum(predicted - sold) / sum(sold) AS bias"
            f" FROM {_DEMAND} GROUP BY date ORDER BY date",
            "Steadily above or below 0 means that the chain has changed: learn again.",
            unit="share",
        ),
        Panel(
            "Error by category",
            "bar",
            "SELECT category, sum(abs(sold - predicted)) / sum(sold) AS wape FROM"
            f" (SELECT product_id, sold, predicted FROM {_DEMAND}) AS o"
            " INNER JOIN bi_products AS p ON p.product_id = o.product_id"
            " GROUP BY category HAVING sum(sold) > 0 ORDER BY wape DESC LIMIT 12",
            "WAPE of a shelf's day, worst first.",
            unit="share",
        ),
        Panel(
            "What was learned, and when",
            "table",
            "SELECT learned_at, model, as_of, elasticity, late_share, late_days FROM bi_models"
            " ORDER BY learned_at DESC LIMIT 20",
            "Each learning, newest first.",
            unit="ratio",
            units={
                "learned_at": "moment",
                "model": "text",
                "as_of": "moment",
                "late_share": "share",
                "late_days": "days",
            },
        ),
    ),
)
