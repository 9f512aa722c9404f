"""What the Complete Journey data set does not say, assumed in one place.

The data set has no costs, margins, shelf lives, pack sizes, delivery plans or lead times. The
figures below are round numbers of the size usual in supermarkets, chosen by judgement and not
measured at any retailer: they make a believable chain, and support no finding about a real one.
"""

from types import MappingProxyType
from typing import Final

# Gross margin as a share of the price at the till. Staples, packaged meat and spirits are sold
# keenly; what is prepared in the store, and what is bought on impulse, carries the most.
GROSS_MARGIN: Final = MappingProxyType(
    {
        "GROCERY": 0.25,
        "DRUG GM": 0.30,
        "PRODUCE": 0.33,
        "MEAT": 0.25,
        "MEAT-PCKGD": 0.23,
        "DELI": 0.45,
        "PASTRY": 0.48,
        "SEAFOOD": 0.28,
        "SEAFOOD-PCKGD": 0.26,
        "SALAD BAR": 0.50,
        "RESTAURANT": 0.50,
        "CHEF SHOPPE": 0.45,
        "NUTRITION": 0.32,
        "COSMETICS": 0.38,
        "FLORAL": 0.45,
        "GARDEN CENTER": 0.35,
        "SPIRITS": 0.20,
        "FROZEN GROCERY": 0.28,
        "FUEL": 0.06,
        "COUPON": 0.0,
    }
)
DEFAULT_GROSS_MARGIN: Final = 0.28

# Days from delivery until the product may no longer be sold; departments not listed keep.
SHELF_LIFE_DAYS: Final = MappingProxyType(
    {
        "PRODUCE": 7,
        "MEAT": 5,
        "MEAT-PCKGD": 21,
        "DELI": 6,
        "PASTRY": 4,
        "SEAFOOD": 3,
        "SALAD BAR": 1,
        "RESTAURANT": 1,
        "CHEF SHOPPE": 2,
        "FLORAL": 6,
    }
)

# Units in one delivered pack. Fresh and expensive goods come in small packs.
PACK_UNITS: Final = MappingProxyType(
    {
        "GROCERY": 12,
        "DRUG GM": 8,
        "PRODUCE": 12,
        "MEAT": 6,
        "MEAT-PCKGD": 8,
        "DELI": 6,
        "PASTRY": 6,
        "SEAFOOD": 4,
        "SEAFOOD-PCKGD": 6,
        "NUTRITION": 8,
        "COSMETICS": 4,
        "FLORAL": 6,
        "SPIRITS": 6,
    }
)
DEFAULT_PACK_UNITS: Final = 6

# The weekdays (Monday is 0) on which a store's orders are written; each store has one plan.
REVIEW_PLANS: Final = ((0, 2, 4), (1, 3, 5), (0, 3), (1, 4), (2, 5))
# Days from order to delivery; each supplier has one.
LEAD_TIMES_DAYS: Final = (1, 1, 2, 2, 3)

# Departments without shelf stock: energy, vouchers and services, and what is made to order.
UNTRACKED_DEPARTMENTS: Final = frozenset(
    {
        "FUEL",
        "COUPON",
        "MISCELLANEOUS",
        "CNTRL/STORE SUP",
        "GM MERCH EXP",
        "POSTAL CENTER",
        "PHOTO & VIDEO",
        "PROD-WHS SALES",
        "TRAVEL & LEISURE",
        "SALAD BAR",
        "RESTAURANT",
        "CHEF SHOPPE",
    }
)
# Vouchers and unnamed articles that other departments ring up.
UNTRACKED_CATEGORIES: Final = frozenset({"COUPON/MISC ITEMS", "COUPON", "COUPONS/STORE & MFG"})

# Sold by weight: the data set counts the piece, so that each line seems to have its own price.
WEIGHED_DEPARTMENTS: Final = frozenset({"PRODUCE", "MEAT", "DELI", "SEAFOOD", "FLORAL"})


def is_stocked(department: str | None, category: str | None) -> bool:
    """Whether a product has shelf stock to track. A product unknown to the catalogue has not."""
    if not department:
        return False
    return department not in UNTRACKED_DEPARTMENTS and category not in UNTRACKED_CATEGORIES
