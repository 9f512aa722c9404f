"""The warehouse's dimension tables, from the data set and the assumptions beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow as pa

from simulators.assumptions import DEFAULT_GROSS_MARGIN, GROSS_MARGIN, SHELF_LIFE_DAYS
from simulators.complete_journey import products, store_ids
from simulators.policy import supplier_lead_time_days

UNKNOWN: Final = "UNKNOWN"
# The data set says neither where a store is nor what hour it keeps.
REGION: Final = "Unrecorded"
TIME_ZONE: Final = "UTC"

PRODUCT_SCHEMA: Final = pa.schema(
    [
        ("product_id", pa.string()),
        ("sku", pa.string()),
        ("product_name", pa.string()),
        ("department", pa.string()),
        ("category", pa.string()),
        ("sub_category", pa.string()),
        ("brand", pa.string()),
        ("supplier_id", pa.string()),
        ("unit_cost", pa.decimal128(18, 4)),
        ("margin", pa.float64()),
        ("shelf_life_days", pa.int32()),
    ]
)
STORE_SCHEMA: Final = pa.schema(
    [(name, pa.string()) for name in ("store_id", "store_name", "region", "time_zone")]
)
SUPPLIER_SCHEMA: Final = pa.schema(
    [
        ("supplier_id", pa.string()),
        ("supplier_name", pa.string()),
        ("lead_time_days", pa.float64()),
    ]
)
PRIOR_SCHEMA: Final = pa.schema(
    [
        ("store_id", pa.string()),
        ("product_id", pa.string()),
        ("daily_units", pa.float64()),
        ("dispersion", pa.float64()),
        ("lead_time_days", pa.float64()),
    ]
)


def dimensions(demand: pd.DataFrame, *, cache: Path) -> Mapping[str, pa.Table]:
    """Table name -> rows, with the schemas above, one row per key.

    dim_product, dim_store and dim_supplier hold all the data set knows, whatever is replayed, so
    that replays of different weeks agree. Products have no unit cost (the data set has none), an
    assumed margin and shelf life, and a name made of type and package size. demand_prior holds
    the pairs of `demand` (store_id, product_id, daily_units, dispersion, lead_time_days).
    """
    catalogue = products(cache=cache)
    stores = [str(store) for store in store_ids(cache=cache)]
    return {
        "dim_product": _dim_product(catalogue),
        "dim_store": pa.Table.from_pydict(
            {
                "store_id": stores,
                "store_name": [f"Store {store}" for store in stores],
                "region": [REGION] * len(stores),
                "time_zone": [TIME_ZONE] * len(stores),
            },
            schema=STORE_SCHEMA,
        ),
        "dim_supplier": _dim_supplier(catalogue),
        "demand_prior": _demand_prior(demand),
    }


def _dim_product(catalogue: pd.DataFrame) -> pa.Table:
    ids = catalogue["product_id"].astype(str)
    department = catalogue["department"]
    kind = catalogue["sub_category"].str.title().where(catalogue["sub_category"] != "", "Product")
    size = catalogue["package_size"]
    name = (kind + ", " + size).where(size != "", kind + " " + ids)
    margin = department.map(dict(GROSS_MARGIN)).fillna(DEFAULT_GROSS_MARGIN)
    shelf_life = [SHELF_LIFE_DAYS.get(value) for value in department]
    columns = {
        "product_id": ids,
        "sku": "CJ-" + ids,
        "product_name": name,
        "department": department.replace("", UNKNOWN),
        "category": catalogue["category"].replace("", UNKNOWN),
        "sub_category": catalogue["sub_category"].replace("", UNKNOWN),
        "brand": catalogue["brand"].replace("", UNKNOWN),
        "supplier_id": catalogue["manufacturer_id"].astype(str),
        "margin": margin,
    }
    arrays = {
        field.name: pa.array(columns[field.name], field.type, from_pandas=True)
        for field in PRODUCT_SCHEMA
        if field.name in columns
    }
    arrays["unit_cost"] = pa.nulls(len(ids), pa.decimal128(18, 4))
    arrays["shelf_life_days"] = pa.array(shelf_life, pa.int32())
    return pa.Table.from_pydict(arrays, schema=PRODUCT_SCHEMA)


def _dim_supplier(catalogue: pd.DataFrame) -> pa.Table:
    suppliers = sorted(set(catalogue["manufacturer_id"].tolist()))
    return pa.Table.from_pydict(
        {
            "supplier_id": [str(supplier) for supplier in suppliers],
            "supplier_name": [
                f"Manufacturer {supplier}" if supplier else "Unknown manufacturer"
                for supplier in suppliers
            ],
            "lead_time_days": [float(supplier_lead_time_days(each)) for each in suppliers],
        },
        schema=SUPPLIER_SCHEMA,
    )


def _demand_prior(demand: pd.DataFrame) -> pa.Table:
    columns = {
        "store_id": demand["store_id"].astype(str),
        "product_id": demand["product_id"].astype(str),
        "daily_units": demand["daily_units"],
        "dispersion": demand["dispersion"],
        "lead_time_days": demand["lead_time_days"].astype("float64"),
    }
    return pa.Table.from_pydict(
        {name: pa.array(values, from_pandas=True) for name, values in columns.items()},
        schema=PRIOR_SCHEMA,
    )
