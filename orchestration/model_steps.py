"""What the nightly steps of every model share: their parts, and which version serves."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import date
from typing import Any, Final

import pyarrow as pa

from clickhouse import queries
from clickhouse.client import Client, connect
from clickhouse.writer import insert
from lake.client import Lake
from lake.client import connect as connect_lake
from lake.models import Registry
from orchestration import demand_panel
from orchestration.demand_panel import Sales, StoreGroup, store_groups
from orchestration.lineage import WRITTEN
from tillstream.settings import Settings
from tillstream.telemetry.lineage import LineageLog, lake_folder, tables

# Features look back this far at most; training looks for as many weeks as there are.
KNOWN_DAYS: Final = 180
_TRAINING_DAYS: Final = 400
_LEAST_DAYS: Final = 120
# Of shelves times days in memory at once: some 50 bytes each.
MOST_CELLS: Final = 60_000_000


@contextmanager
def model_step(
    settings: Settings,
    name: str,
    *,
    reads: Sequence[str] = WRITTEN["forecast_features"],
    writes: Sequence[str],
    in_lake: str | None = None,
) -> Iterator[tuple[Client, Lake]]:
    """Warehouse and lake while a step is at work, which the lineage tells of: the tables it `reads`
    and `writes`, and the folder `in_lake` that it writes."""
    written = tables(settings, writes)
    if in_lake is not None:
        written += (lake_folder(settings, in_lake),)
    log = LineageLog.of(settings)
    with (
        closing(connect(settings.warehouse)) as client,
        log.run(name, reads=tables(settings, reads), writes=written),
    ):
        yield client, connect_lake(settings.lake, url=settings.lake_url)


def features_file(day: date) -> str:
    """Where the lake has the features of every shelf for the forecast of `day`."""
    return f"features/inference/day={day}/items.parquet"


def training_sales(client: Client, day: date) -> Sales:
    """What a model is trained on: all stores, or as many as fit into memory, and as many days up to
    `day` as do, but at least _LEAST_DAYS where there are so many."""
    most = MOST_CELLS // _LEAST_DAYS
    group = store_groups(client, last_day=day, days=_LEAST_DAYS, most_shelves=most)[0]
    days = min(_TRAINING_DAYS, MOST_CELLS // max(1, group.shelves))
    stores = group.stores
    return demand_panel.read(client, last_day=day, days=max(days, _LEAST_DAYS), stores=stores)


def known_groups(client: Client, day: date) -> list[StoreGroup]:
    """The stores, as many at a time as fit into memory with all days that features look at."""
    most = MOST_CELLS // KNOWN_DAYS
    return store_groups(client, last_day=day, days=KNOWN_DAYS, most_shelves=most)


def known_sales(client: Client, day: date, group: StoreGroup) -> Sales:
    """What predictions for the days after `day` are made from."""
    return demand_panel.read(client, last_day=day, days=KNOWN_DAYS, stores=group.stores)


def version_of(registry: Registry, stamp: str) -> dict[str, Any] | None:
    """The card of the newest version with this fingerprint: it need not be trained again."""
    for version in reversed(registry.versions()):
        card = registry.card(version)
        if card["fingerprint"] == stamp:
            return card
    return None


def settle(client: Client, registry: Registry, card: Mapping[str, Any], *, better: bool) -> bool:
    """What follows the saving of a version: into service if it is better, then its scores. Returns
    whether it is in service.

    The scores come last, so a version that lacks them is one whose run died, and has this done by
    the next one; a version that has them is not promoted again behind the operator's back, unless
    none has ever served.
    """
    version = int(card["version"])
    day = date.fromisoformat(card["data"]["last_day"])
    if not registry.has_served or not _has_scores(client, registry.name, version, day):
        if better:
            registry.promote(version)
        scores = card["backtest"]["scores"]
        save_metrics(client, registry.name, version, day, "backtest", scores)
    return registry.current() == version


def save_metrics(
    client: Client, model: str, version: int, day: date, kind: str, values: Mapping[str, float]
) -> None:
    n = len(values)
    if not n:
        return
    now = pa.scalar(time.time_ns() // 1000, pa.timestamp("us", tz="UTC"))
    table = pa.table(
        {
            "model": pa.array([model] * n),
            "version": pa.array([version] * n, pa.uint32()),
            "as_of": pa.array([day] * n, pa.date32()),
            "kind": pa.array([kind] * n),
            "metric": pa.array(list(values)),
            "value": pa.array([float(value) for value in values.values()], pa.float64()),
            "measured_at": pa.repeat(now, n),
        }
    )
    insert(client, "model_metrics", table)


def _has_scores(client: Client, model: str, version: int, day: date) -> bool:
    """Whether the backtest of a version that was trained on the days up to `day` is there."""
    found = queries.select(
        client,
        "SELECT count() AS n FROM model_metrics WHERE model = {model:String}"
        " AND version = {version:UInt32} AND as_of = {day:Date} AND kind = 'backtest'",
        parameters={"model": model, "version": version, "day": str(day)},
    )
    return bool(found["n"][0].as_py())
