"""What a dashboard is made of, for Grafana and for reports alike."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["stat", "line", "bar", "table"]
Unit = Literal["money", "count", "share", "days", "seconds", "ratio", "moment", "text"]

# In Grafana a value is put into the text of a query. Percent-encoding leaves letters, digits and
# -_.~% alone, so whatever is typed or linked stays a value; Grafana's own quoting formats leave a
# backslash as it is, which ends the text for ClickHouse.
_VALUE = "decodeURLComponent('${{{name}:percentencode}}')"
ALL = "all"


def value(name: str) -> str:
    """SQL of a variable's value."""
    return _VALUE.format(name=name)


def matches(name: str, column: str) -> str:
    """SQL: the variable says all, or what the column holds."""
    return f"({value(name)} = '{ALL}' OR {column} = {value(name)})"


@dataclass(frozen=True, slots=True)
class Variable:
    """What a person chooses above a dashboard. `sql` lists what there is, in one column; with
    `has_all`, nothing chosen is everything."""

    name: str
    label: str
    sql: str
    has_all: bool = True


@dataclass(frozen=True, slots=True)
class Panel:
    """One question and how its answer is shown.

    `sql` is ClickHouse's, with macros of Grafana's data source and `value(…)` of variables. A stat
    returns one row and column; a line `time` and a column a line; a bar a name and a column a bar;
    a table anything. `units` is of columns, `unit` of the others. `steps` are thresholds: from
    which value on which colour counts, of `good`, `warn` and `bad`.
    """

    title: str
    kind: Kind
    sql: str
    description: str
    unit: Unit = "count"
    units: Mapping[str, Unit] = field(default_factory=dict)
    steps: tuple[tuple[float, str], ...] = ()
    width: int = 12
    height: int = 8

    def unit_of(self, column: str) -> Unit:
        return self.units.get(column, self.unit)


@dataclass(frozen=True, slots=True)
class Dashboard:
    """`days` is how much it shows at first. Widths of panels in a row add up to 24."""

    key: str
    title: str
    question: str
    days: int
    panels: tuple[Panel, ...]
    variables: tuple[Variable, ...] = ()


REGION = Variable("region", "Region", "SELECT DISTINCT region FROM bi_stores ORDER BY region")
STORE = Variable(
    "store", "Store", "SELECT store_id FROM bi_stores ORDER BY store_id", has_all=False
)
ANY_STORE = Variable("store", "Store", "SELECT store_id FROM bi_stores ORDER BY store_id")
CATEGORY = Variable(
    "category", "Category", "SELECT DISTINCT category FROM bi_products ORDER BY category"
)
PRODUCT = Variable(
    "product",
    "Product",
    f"SELECT product_id FROM bi_products WHERE {matches('category', 'category')}"
    " ORDER BY product_id LIMIT 1000",
)


def in_region(store_id: str = "store_id") -> str:
    """SQL: the store is in the chosen region. Where all are chosen nothing is looked up, and no
    store is asked for, which lets sums kept without stores answer."""
    stores = f"SELECT store_id FROM bi_stores WHERE region = {value('region')}"
    return f"({value('region')} = '{ALL}' OR {store_id} IN ({stores}))"


IN_REGION = in_region()
IN_STORE = f"store_id = {value('store')}"
IN_CATEGORY = (
    f"({value('category')} = '{ALL}' OR product_id IN"
    f" (SELECT product_id FROM bi_products WHERE category = {value('category')}))"
)
IN_PRODUCT = matches("product", "product_id")
# Days are those of the range's end, so that a past moment can be looked at like the present.
TODAY = "toDate($__toTime, 'UTC')"


def complete_until(feed: str = "sales") -> Panel:
    return Panel(
        "Complete until",
        "stat",
        f"SELECT complete_until FROM bi_freshness WHERE feed = '{feed}'",
        f"Everything of {feed} that arrived before this is in these figures (UTC).",
        unit="moment",
        width=4,
        height=4,
    )
