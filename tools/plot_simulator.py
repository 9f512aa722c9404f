"""How well the simulator's shape fits recorded sales: a distance and a plot each.

    python tools/plot_simulator.py

draws docs/simulator-<what>.svg and prints the distances that docs/simulator.md tells.

The recorded data is a panel: a few households of many stores. So a chain of the same size is
simulated without faults, stock-outs aside, and what its customers ask for is compared: as many
stores, baskets a day and products as the panel has, over the same year's first weeks.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from fit_simulator import LOCAL_HOURS, recorded_lines
from scipy import stats

from simulators.world.chain import Chain, together
from simulators.world.scenario import Scenario
from simulators.world.world import make_world

mpl.use("svg")
DOCS = Path("docs")
WEEKS = 8
STORES = 100  # the recorded stores with the most lines; the rest have a few lines a year
PRODUCTS = 68_509


def simulated(baskets_per_day: float) -> pd.DataFrame:
    """Lines asked for by a chain of as many baskets, from 1 January 2017."""
    scenario = Scenario(
        name="panel",
        version=1,
        stores=STORES,
        products=PRODUCTS,
        rate=1,
        start=datetime(2017, 1, 2, tzinfo=UTC),
        minutes=WEEKS * 7 * 1440,
        demand={"promoted": 0.0, "substitutes": 0.0, "returned": 0.0},
    )
    world = make_world(scenario, start_ms=scenario.start_ms(0), whole_days=True)
    scale = baskets_per_day / sum(store.baskets_per_day for store in world.stores)
    for number, store in enumerate(world.stores):
        world.stores[number] = type(store)(
            **{
                **{name: getattr(store, name) for name in store.__slots__},
                "baskets_per_day": store.baskets_per_day * scale,
            }
        )
    chain = Chain(world, world.stores)
    for state in chain.states:
        state.physical += 1_000_000  # so that what is sold is what was asked for
    sales = together(list(chain.slots())).sales
    return pd.DataFrame(
        {
            "store": sales.store,
            "basket": sales.store * 10**12 + sales.at_ms // 1000,
            "product": sales.product,
            "units": sales.units,
            "local": pd.to_datetime(sales.at_ms, unit="ms")
            + pd.to_timedelta(
                [_offset(world.stores[n].region) for n in sales.store.tolist()], unit="h"
            ),
        }
    )


def _offset(region: int) -> int:
    return (-5, -5, -6, -7, -8)[region]


def recorded() -> pd.DataFrame:
    lines = recorded_lines()
    busiest = lines["store_id"].value_counts().index[:STORES]
    lines = lines[lines["store_id"].isin(busiest)]
    start = datetime(2017, 1, 2, tzinfo=UTC).timestamp() * 1000
    lines = lines[(lines["time_ms"] >= start)]
    lines = lines[lines["time_ms"] < start + WEEKS * 7 * 86_400_000]
    return pd.DataFrame(
        {
            "store": lines["store_id"],
            "basket": lines["basket_id"],
            "product": lines["product_id"],
            "units": lines["quantity"],
            "local": pd.to_datetime(lines["time_ms"], unit="ms") + pd.Timedelta(hours=LOCAL_HOURS),
        }
    )


def gaps_hours(lines: pd.DataFrame) -> np.ndarray:
    """Hours between two sales of one product in one store."""
    ordered = lines.sort_values(["store", "product", "local"])
    step = ordered["local"].diff().dt.total_seconds().to_numpy() / 3600
    same = (ordered["store"].diff() == 0).to_numpy() & (ordered["product"].diff() == 0).to_numpy()
    return step[same & (step > 0)]


def draw(name: str, title: str, plot: Any, xlabel: str, ylabel: str) -> None:
    figure, axes = plt.subplots(figsize=(6.4, 3.6))
    plot(axes)
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(DOCS / f"simulator-{name}.svg", metadata={"Date": None})
    plt.close(figure)


def survival(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    ordered = np.sort(values)
    return ordered, 1 - np.arange(len(ordered)) / len(ordered)


def main() -> None:
    mpl.rcParams["svg.hashsalt"] = "tillstream"
    real = recorded()
    days = WEEKS * 7
    made = simulated(real["basket"].nunique() / days)
    pairs = (("recorded", real, "C0", "-"), ("simulated", made, "C1", "--"))
    print(f"lines: {len(real):,} recorded, {len(made):,} simulated")

    sizes = {name: frame.groupby("basket").size().to_numpy() for name, frame, *_ in pairs}
    gaps = {name: gaps_hours(frame) for name, frame, *_ in pairs}
    for what, values, unit in (("basket", sizes, "lines"), ("gaps", gaps, "hours")):
        test = stats.ks_2samp(values["recorded"], values["simulated"])
        far = stats.wasserstein_distance(values["recorded"], values["simulated"])
        means = {name: round(float(v.mean()), 2) for name, v in values.items()}
        print(f"{what}: KS {test.statistic:.3f}, Wasserstein {far:.2f} {unit}, means {means}")

        def plot(axes: Any, values: dict[str, np.ndarray] = values) -> None:
            for name, _, colour, style in pairs:
                x, y = survival(values[name])
                keep = np.unique(np.linspace(0, len(x) - 1, 2000).astype(int))
                axes.loglog(x[keep], y[keep], style, color=colour, label=name)

        draw(
            what,
            {"basket": "Lines in a basket", "gaps": "Time between sales of an item"}[what],
            plot,
            {"basket": "lines", "gaps": "hours"}[what],
            "share that is larger",
        )

    counts = {n: np.sort(f["product"].value_counts().to_numpy())[::-1] for n, f, *_ in pairs}
    share = {n: np.cumsum(c) / c.sum() for n, c in counts.items()}
    longest = max(map(len, share.values()))
    full = {n: np.pad(s, (0, longest - len(s)), constant_values=1.0) for n, s in share.items()}
    print(f"popularity: KS {np.abs(full['recorded'] - full['simulated']).max():.3f}", end=", ")
    print({name: len(c) for name, c in counts.items()}, "products sold")

    def popular(axes: Any) -> None:
        for name, _, colour, style in pairs:
            axes.loglog(
                np.arange(1, len(counts[name]) + 1), counts[name], style, color=colour, label=name
            )

    draw("popularity", "Sales of a product, by rank", popular, "rank", "lines")

    visits = {n: f.drop_duplicates("basket")["local"] for n, f, *_ in pairs}
    for what, of, size, label in (
        ("hours", lambda v: v.dt.hour, 24, "hour of the day, local"),
        ("weekdays", lambda v: v.dt.dayofweek, 7, "weekday, Monday is 0"),
    ):
        parts = {n: np.bincount(of(v), minlength=size) / len(v) for n, v in visits.items()}
        apart = np.abs(np.cumsum(parts["recorded"] - parts["simulated"])).max()
        print(f"{what}: KS {apart:.3f}")

        def bars(axes: Any, parts: dict[str, np.ndarray] = parts, size: int = size) -> None:
            for name, _, colour, style in pairs:
                axes.plot(np.arange(size), parts[name], style, marker="o", color=colour, label=name)

        draw(what, f"Visits by {label.split(',')[0]}", bars, label, "share of baskets")


if __name__ == "__main__":
    main()
