"""The warehouse's dimension tables of a made-up chain."""

from collections.abc import Mapping
from decimal import Decimal

import numpy as np
import pyarrow as pa

from simulators.dimensions import PRIOR_SCHEMA, PRODUCT_SCHEMA, STORE_SCHEMA, SUPPLIER_SCHEMA
from simulators.world.catalogue import DEPARTMENTS, Catalogue
from simulators.world.stores import REGIONS
from simulators.world.world import World


def dimensions(world: World) -> Mapping[str, pa.Table]:
    """Table name -> rows. There is no prior demand: what the chain's planners expect is part of the
    truth, and the pipeline is to find out by itself."""
    catalogue = world.catalogue
    return {
        "dim_product": _products(catalogue),
        "dim_store": pa.Table.from_pydict(
            {
                "store_id": [store.store_id for store in world.stores],
                "store_name": [
                    f"{store.format.name.title()} {store.number}" for store in world.stores
                ],
                "region": [REGIONS[store.region][0] for store in world.stores],
                "time_zone": [REGIONS[store.region][1] for store in world.stores],
            },
            schema=STORE_SCHEMA,
        ),
        "dim_supplier": pa.Table.from_pydict(
            {
                "supplier_id": [_supplier(n) for n in range(len(catalogue.suppliers))],
                "supplier_name": [f"Supplier {n}" for n in range(len(catalogue.suppliers))],
                "lead_time_days": catalogue.suppliers.lead_days.astype(float),
            },
            schema=SUPPLIER_SCHEMA,
        ),
        "demand_prior": PRIOR_SCHEMA.empty_table(),
    }


def _supplier(number: int) -> str:
    return f"V{number:04}"


def _products(catalogue: Catalogue) -> pa.Table:
    n = len(catalogue)
    department = [DEPARTMENTS[at].name for at in catalogue.department.tolist()]
    category = [f"{d.title()} {c:02}" for d, c in zip(department, catalogue.category, strict=True)]
    life = catalogue.shelf_life_days
    return pa.Table.from_pydict(
        {
            "product_id": [f"P{number:06}" for number in range(n)],
            "sku": [f"SIM-{number:06}" for number in range(n)],
            "product_name": [f"{name} {number}" for number, name in enumerate(category)],
            "department": department,
            "category": category,
            "sub_category": category,
            "brand": [f"Brand {number}" for number in catalogue.brand.tolist()],
            "supplier_id": [_supplier(number) for number in catalogue.supplier.tolist()],
            "unit_cost": [Decimal(cents).scaleb(-2) for cents in catalogue.cost_cents.tolist()],
            "margin": 1 - catalogue.cost_cents / catalogue.price_cents,
            "shelf_life_days": pa.array(life, pa.int32(), mask=np.asarray(life == 0)),
        },
        schema=PRODUCT_SCHEMA,
    )
