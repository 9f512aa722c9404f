"""All dashboards, by key."""

from typing import Final

from tillstream.errors import ConfigError
from tillstream.reports.executive import EXECUTIVE
from tillstream.reports.inventory import INVENTORY
from tillstream.reports.ml import ML
from tillstream.reports.panel import Dashboard
from tillstream.reports.pipeline import PIPELINE
from tillstream.reports.store import STORE_MANAGER

DASHBOARDS: Final = (EXECUTIVE, STORE_MANAGER, INVENTORY, ML, PIPELINE)


def dashboard(key: str) -> Dashboard:
    """Raises ConfigError for a key that nobody has."""
    for one in DASHBOARDS:
        if one.key == key:
            return one
    names = ", ".join(one.key for one in DASHBOARDS)
    raise ConfigError(f"there is no report {key!r}", hint=f"one of {names}")
