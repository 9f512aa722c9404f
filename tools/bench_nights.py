"""How long a night takes: days of several sizes, made by the engine itself, rolled up and checked.

    python tools/bench_nights.py --transactions 100000 300000 1000000
    python tools/bench_nights.py --transactions 100000 300000 1000000 --past 14 --products 5000

Each size has a warehouse of its own: 1,000 stores, days of so many transactions of three lines, a
stock movement a line, and one shelf in thirty emptied. What is timed is the night of the last day,
without its first step (waiting for the stream and `verify`, which need Kafka); with a past,
features and predictions too, by a model that was trained on other, made-up sales: the time it takes
does not depend on what it says (slow movers are scored by the rule). `program_mb` is the most that
any size so far has taken. `cpu_seconds` are those of the warehouse and of this program: on a
machine that others use, they say more than time.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np
import psutil
from pydantic import SecretStr

from clickhouse.client import Client, connect
from clickhouse.migrate import migrate
from lake.client import connect as connect_lake
from lake.models import DEMAND_FORECAST, Registry
from orchestration import forecasting, model_files, slow_movers
from orchestration.night import run_night
from tillstream.bench.dimensions import fill_dimensions
from tillstream.devstack.ports import free_port
from tillstream.ml import demand_model
from tillstream.ml.boosting import Recipe
from tillstream.ml.features import HORIZON_DAYS, History
from tillstream.ml.panel import Panel
from tillstream.settings import Settings, WarehouseSettings, load_settings

STORES = 1000
LINES = 3
_ALL_FIELDS = (
    "store_id, product_id, schema_id, topic_id, partition, offset, event_time, arrival, event_key"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--transactions", type=int, nargs="+", default=[100_000, 300_000, 1_000_000]
    )
    parser.add_argument("--products", type=int, default=50_000)
    parser.add_argument("--past", type=int, default=0, help="days before, of the same size")
    parser.add_argument("--memory-mb", type=int, default=2048)
    arguments = parser.parse_args()
    for count in arguments.transactions:
        chain = Chain(count * LINES, arguments.products, arguments.past)
        print(json.dumps(measure(chain, memory_mb=arguments.memory_mb)), flush=True)


@dataclass(frozen=True, slots=True)
class Chain:
    """`lines` a day, of so many `products`, on the last day and the `past` days before."""

    lines: int
    products: int
    past: int


def measure(chain: Chain, *, memory_mb: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        warehouse = WarehouseSettings(
            port=free_port(), password=SecretStr("bench"), memory_mb=memory_mb
        )
        settings = load_settings(home=home, warehouse=warehouse)
        server = _start(home, warehouse)
        try:
            migrate(warehouse)
            fill_dimensions(warehouse)
            day = datetime.now(tz=UTC).date() - timedelta(days=2)
            with closing(connect(warehouse, timeout_s=1800)) as client:
                for ago in range(chain.past, -1, -1):
                    start = (chain.past - ago) * chain.lines
                    _fill(client, day - timedelta(days=ago), chain, start=start)
                _commit(client, chain)
            if chain.past:
                _put_into_service(settings)
            process = psutil.Process(server.pid)
            before = _cpu_s(process)
            began = time.monotonic()
            steps = _night(settings, day) | (_learned(settings, day) if chain.past else {})
            return {
                "transactions": chain.lines // LINES,
                "lines": chain.lines,
                **steps,
                "seconds": round(time.monotonic() - began, 1),
                "cpu_seconds": round(_cpu_s(process) - before, 1),
                "warehouse_mb": process.memory_info().rss >> 20,
                "program_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
            }
        finally:
            server.terminate()
            server.wait()


def _cpu_s(warehouse: psutil.Process) -> float:
    times = (one.cpu_times() for one in (warehouse, psutil.Process()))
    return sum(one.user + one.system for one in times)


def _night(settings: Settings, day: date) -> dict[str, float]:
    reports = run_night(settings, day, skip=("close",))
    return {report.step: round(report.seconds, 1) for report in reports}


def _learned(settings: Settings, day: date) -> dict[str, float]:
    """What follows the night: features, forecasts, the chances of slow movers."""
    found: dict[str, float] = {}
    for name, step in (
        ("features", forecasting.build_features),
        ("predictions", forecasting.predict),
        ("slow_movers", slow_movers.score),
    ):
        began = time.monotonic()
        found["shelves"] = step(settings, day)
        found[name] = round(time.monotonic() - began, 1)
    return found


def _put_into_service(settings: Settings) -> None:
    """A model of 2,000 shelves that sell a unit in three days."""
    items, days = 2_000, 98
    plans = np.zeros((items, days + HORIZON_DAYS), dtype=np.float32)
    numbers = np.arange(items)
    panel = Panel(
        first_day=20_000,
        units=np.random.default_rng(1).poisson(0.3, (items, days)).astype(np.float32),
        in_stock=np.ones((items, days), dtype=np.float32),
        promotion=plans,
        price=plans + 1,
        store=numbers % 20,
        product=numbers // 20,
        category=numbers // 200,
    )
    model = demand_model.train(demand_model.Growing.on_all(History(panel), Recipe()))
    registry = Registry(connect_lake(settings.lake, url=settings.lake_url), DEMAND_FORECAST)
    card = {"spread": model_files.spreads_told(model)}
    registry.promote(registry.save(card, {model_files.TREES_FILE: model.trees.saved()}))


def _start(home: Path, warehouse: WarehouseSettings) -> subprocess.Popen[bytes]:
    (home / "password").write_text("bench", encoding="utf-8")
    command = [sys.executable, "-m", "tillstream.devstack.warehouse.server"]
    command += ["--data", str(home / "data"), "--port", str(warehouse.port), "--host"]
    command += ["127.0.0.1", "--user", "tillstream", "--password-file", str(home / "password")]
    command += ["--memory-mb", str(warehouse.memory_mb)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{warehouse.port}/ping", timeout=5)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return server


def _fill(client: Client, day: date, chain: Chain, *, start: int) -> None:
    """Hashes of a line's number stand in for chance, so the same size has the same rows."""
    line = (
        f"SELECT number AS n, concat('S', leftPad(toString(cityHash64(n, 1) % {STORES}), 4, '0'))"
        " AS store, toUInt32("
        f"{chain.products} * pow(cityHash64(n, 2) % 1000000 / 1000000, 3)) AS p,"
        " concat('P', leftPad(toString(p), 5, '0')) AS product,"
        " toInt32(1 + cityHash64(n, 3) % 4) AS units,"
        " toDecimal64((99 + p % 900) / 100, 4) AS price,"
        # Noon in America, so that the date is the same there.
        f" toDateTime64('{day} 08:00:00', 3, 'UTC') + cityHash64(n, 7) % 50400 AS at"
    )
    step, end = 500_000, start + chain.lines
    for first in range(start, end, step):
        rows = f"{line} FROM numbers({first}, {min(step, end - first)})"
        client.command(
            "INSERT INTO fact_sales (sale_id, date_key, quantity, revenue, cost, profit,"
            " transaction_id, line_number, unit_price, payment_method, window_start,"
            f" {_ALL_FIELDS}) SELECT toString(n), '{day}', units, price * units,"
            " toDecimal64(price * units * 0.7, 4) AS spent, price * units - spent,"
            f" toString(intDiv(n, {LINES})), n % {LINES} + 1, price, 'card',"
            " toStartOfFiveMinutes(at), store, product, 0, 'bench', 0, n, at, at,"
            f" sipHash128(n) FROM ({rows})"
        )
        client.command(
            "INSERT INTO fact_inventory (inventory_id, date_key, quantity_on_hand,"
            f" quantity_change, reason, sequence, {_ALL_FIELDS}) SELECT toString(n), '{day}',"
            " if(n % 30 = 0, 0, 20), -units, 'sale', n, store, product, 0, 'bench', 1, n, at, at,"
            f" sipHash128(n, 'i') FROM ({rows})"
        )
    client.command(
        "INSERT INTO velocity_5m_sums SELECT store_id, product_id, window_start,"
        " sum(toInt64(quantity)), sum(toDecimal128(revenue, 4)), toInt64(count()) FROM fact_sales"
        f" WHERE date_key = '{day}' GROUP BY store_id, product_id, window_start"
    )


def _commit(client: Client, chain: Chain) -> None:
    lines = chain.lines * (chain.past + 1)
    for topic, partition in (("retail-sales-transactions", 0), ("retail-inventory-updates", 1)):
        client.command(
            f"INSERT INTO stream_commits VALUES ('live', '{topic}', 'bench', {partition}, {lines},"
            " 0, now64(6))"
        )


if __name__ == "__main__":
    main()
