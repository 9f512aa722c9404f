"""Ten panels of the dashboards as a load: what a hundred people ask for at once."""

from collections.abc import Mapping
from typing import Final

from tillstream.bench.panels import Panel as LoadPanel
from tillstream.reports.catalogue import dashboard
from tillstream.reports.macros import TimeRange, expand
from tillstream.reports.panel import ALL
from tillstream.reports.run import DAY_MS

# What Grafana's data source sends with each question: an answer that took a while may be given
# again for some seconds, so a hundred people who open one dashboard cost as much as a few.
SETTINGS: Final[Mapping[str, str]] = {
    "use_query_cache": "1",
    "query_cache_ttl": "15",
    "query_cache_min_query_duration": "50",
    "query_cache_nondeterministic_function_handling": "save",
    "query_cache_system_table_handling": "save",
}
_OF_DASHBOARD = {
    "executive": (
        *("Revenue today", "Shelves with stock", "Revenue and profit by day"),
        *("Revenue by region", "Top movers"),
    ),
    "store": ("Alerts, costliest first", "Order today", "Units sold, in five minutes"),
    "inventory": ("Riskiest shelves and what drives them", "Units sold by day"),
}
# Stand in for names until a user's own are put in: a user looks at a store, and at a product.
_STORE, _PRODUCT = "STORE-OF-USER", "PRODUCT-OF-USER"


def load_panels(now_ms: int) -> tuple[LoadPanel, ...]:
    """Ten panels, each over its own days until `now_ms`; `{store}` and `{product}` are open."""
    found = []
    for key, titles in _OF_DASHBOARD.items():
        one = dashboard(key)
        span = TimeRange(now_ms - one.days * DAY_MS, now_ms)
        for panel in one.panels:
            if panel.title not in titles:
                continue
            is_item = panel.title == "Units sold by day"
            chosen = {
                "region": ALL,
                "category": ALL,
                "store": _STORE if key == "store" else ALL,
                "product": _PRODUCT if is_item else ALL,
            }
            sql = expand(panel.sql, span, chosen)
            sql = sql.replace(_STORE, "{store}").replace(_PRODUCT, "{product}")
            found.append(LoadPanel(f"{key}: {panel.title}", sql))
    return tuple(found)
