"""Learning from what the warehouse holds, into the tables that scores are made from."""

from typing import Final

from clickhouse.client import Client
from tillstream.learning.evidence import read
from tillstream.learning.learn import learn
from tillstream.learning.phantoms import last_sales, phantoms, save_phantoms
from tillstream.learning.tables import save, summary

DAYS: Final = 56
HALF_LIFE_DAYS: Final = 28.0


def learn_stored(
    client: Client,
    *,
    as_of_ms: int,
    days: int = DAYS,
    half_life_days: float = HALF_LIFE_DAYS,
) -> dict[str, int | float]:
    """Learn from the `days` before `as_of_ms`, a UTC midnight; a sale counts for half after
    `half_life_days`. Written to demand_belief, demand_model and phantom_stock. Returns what was
    found, in figures; nothing when no stock was reported before."""
    evidence = read(client, as_of_ms=as_of_ms, days=days, half_life_days=half_life_days)
    if not evidence.items.num_rows:
        return {}
    learned = learn(evidence, half_life_days=half_life_days)
    silent = phantoms(evidence, learned, last_sales(client, as_of_ms=as_of_ms))
    save_phantoms(client, silent)
    save(client, learned, evidence.items)
    return {**summary(evidence, learned), "shelves_that_may_be_empty": silent.num_rows}
