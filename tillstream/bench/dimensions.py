"""The chain that the benchmarks' traffic is about: its stores, its products, what usually sells.

Made by the engine itself, in a second or two.
"""

from contextlib import closing

from clickhouse.client import connect
from clickhouse.queries import command
from tillstream.bench.generator import PROBE_STORES
from tillstream.bench.traffic import PRODUCTS, STORES
from tillstream.settings import WarehouseSettings

# Of the products that sell most, what every store used to sell of them is known.
_KNOWN_PRODUCTS = 1_000
_ZONES = "['America/New_York', 'America/Chicago', 'America/Denver', 'America/Los_Angeles']"

_STORES = (
    "INSERT INTO dim_store (store_id, store_name, region, time_zone)"
    " SELECT concat('S', leftPad(toString(number), 4, '0')), concat('Store ', toString(number)),"
    f" concat('Region ', toString(number % 8)), {_ZONES}[number % 4 + 1]"
    f" FROM numbers({STORES})"
)
_PROBE_STORES = (
    "INSERT INTO dim_store (store_id, store_name, region, time_zone)"
    f" SELECT arrayJoin({list(PROBE_STORES)}) AS id, id, 'Probes', 'UTC'"
)
_PRODUCTS = (
    "INSERT INTO dim_product (product_id, sku, product_name, department, category, sub_category,"
    " brand, supplier_id, unit_cost, margin, shelf_life_days)"
    " SELECT concat('P', leftPad(toString(number), 5, '0')) AS id, id,"
    " concat('Product ', toString(number)), concat('Department ', toString(number % 20)),"
    " concat('Category ', toString(number % 200)), concat('Kind ', toString(number % 2000)),"
    " concat('Brand ', toString(number % 500)), concat('Supplier ', toString(number % 100)),"
    " toDecimal64((99 + number % 900) / 100 * 0.7, 4), 0.3, NULL"
    f" FROM numbers({PRODUCTS})"
)
_PRIORS = (
    "INSERT INTO demand_prior (store_id, product_id, daily_units, dispersion, lead_time_days)"
    f" SELECT concat('S', leftPad(toString(number % {STORES}), 4, '0')),"
    f" concat('P', leftPad(toString(intDiv(number, {STORES})), 5, '0')),"
    f" 2 / (1 + intDiv(number, {STORES}) / 50), 1.5, 2"
    f" FROM numbers({STORES * _KNOWN_PRODUCTS})"
)


def fill_dimensions(warehouse: WarehouseSettings) -> None:
    """Call once, before the stream starts. Raises ServiceError."""
    with closing(connect(warehouse)) as client:
        for statement in (_STORES, _PROBE_STORES, _PRODUCTS, _PRIORS):
            command(client, statement)
