"""Whether the figures can be relied on right now."""

from tillstream.reports.panel import Dashboard, Panel, complete_until

PIPELINE = Dashboard(
    "pipeline",
    "Pipeline",
    "Does everything arrive, in time and once?",
    2,
    panels=(
        complete_until(),
        Panel(
            "Behind the end of the range",
            "stat",
            "SELECT dateDiff('second', min(complete_until), $__toTime) AS seconds"
            " FROM bi_freshness",
            "How long before the end of the range the data is complete; at night longer, when"
            " stores are closed.",
            unit="seconds",
            steps=((-1e9, "good"), (60.0, "warn"), (300.0, "bad")),
            width=5,
            height=4,
        ),
        Panel(
            "Refused",
            "stat",
            "SELECT sum(records) AS records FROM bi_rejects"
            " WHERE $__timeFilter(hour) AND outcome = 'refused'",
            "Records in quarantine, of those that arrived in the range.",
            steps=((0.0, "good"), (1.0, "warn")),
            width=5,
            height=4,
        ),
        Panel(
            "Duplicates",
            "stat",
            "SELECT sum(records) AS records FROM bi_rejects"
            " WHERE $__timeFilter(hour) AND outcome = 'duplicate'",
            "Records that came again, and count once.",
            width=5,
            height=4,
        ),
        Panel(
            "Unusual sales",
            "stat",
            "SELECT count() AS sales FROM bi_anomalies WHERE $__timeFilter(event_time)",
            "Marked against the product's own history; they count all the same.",
            width=5,
            height=4,
        ),
        Panel(
            "Sale lines by hour",
            "line",
            "SELECT hour AS time, sum(lines) AS lines FROM bi_sales_by_hour"
            " WHERE $__dateFilter(date) AND $__timeFilter(hour) GROUP BY hour"
            " ORDER BY time WITH FILL STEP toIntervalHour(1)",
            "By the time of the sale.",
        ),
        Panel(
            "Stock movements by hour",
            "line",
            "SELECT toStartOfHour(moved_at) AS time, count() AS movements FROM bi_stock_movements"
            " WHERE $__dateFilter(date) AND $__timeFilter(moved_at) GROUP BY time"
            " ORDER BY time WITH FILL STEP toIntervalHour(1)",
            "By the time of the movement.",
        ),
        Panel(
            "Records that do not count",
            "table",
            "SELECT outcome, topic, reason, sum(records) AS records FROM bi_rejects"
            " WHERE $__timeFilter(hour) GROUP BY outcome, topic, reason"
            " ORDER BY records DESC LIMIT 30",
            "Why, and how many. Reasons are explained in docs/events.md.",
            units={"outcome": "text", "topic": "text", "reason": "text"},
        ),
        Panel(
            "How far each part is",
            "table",
            "SELECT query, topic, count() AS partitions, sum(next_offset) AS records,"
            " min(committed_at) AS committed FROM bi_commits"
            " GROUP BY query, topic ORDER BY query, topic",
            "Records below the committed offsets, and when the oldest of these was written.",
            units={"query": "text", "topic": "text", "committed": "moment"},
        ),
        Panel(
            "Nights: what was learned",
            "table",
            "SELECT learned_at, model, as_of FROM bi_models ORDER BY learned_at DESC LIMIT 10",
            "The last nights' learning; rollups and quality checks will join it.",
            units={"learned_at": "moment", "model": "text", "as_of": "moment"},
            width=24,
            height=5,
        ),
    ),
)
