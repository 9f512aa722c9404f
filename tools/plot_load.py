"""Draw what `tillstream bench query --json` found, one file for each load, as docs/load.svg.

python tools/plot_load.py one-user.json hundred-users.json docs/load.svg
"""

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # the backend must be chosen first

_MOST_MS = 2_000


def label(run: dict[str, Any]) -> str:
    users = "1 user" if run["users"] == 1 else f"{run['users']} users"
    return f"{users}, {run['rows'] / 1e6:g} M sales"


def draw(loads: list[list[dict[str, Any]]], out: Path) -> None:
    """A bar for each panel and load: the p95 of the median run, with the p50 marked in it."""
    panels = list(loads[0][0]["panel_ms"])
    figure, chart = plt.subplots(figsize=(9, 1.2 + 0.22 * len(panels) * len(loads)))
    height = 0.8 / len(loads)
    for number, runs in enumerate(loads):
        at = [row + number * height for row in range(len(panels))]
        found = {
            name: [
                statistics.median(run["panel_ms"][panel][name] for run in runs) for panel in panels
            ]
            for name in ("p50", "p95")
        }
        chart.barh(at, found["p95"], height, label=f"{label(runs[0])}: p95", alpha=0.8)
        chart.plot(found["p50"], at, "k|", label="p50" if number == 0 else None)
        alone = [
            statistics.median(run["alone_ms"][panel]["p50"] for run in runs) for panel in panels
        ]
        chart.plot(alone, at, "r|", label="one user alone: p50" if number == 0 else None)
    chart.axvline(_MOST_MS, color="grey", linestyle=":", label="2 s")
    chart.set_xscale("log")
    chart.set_xlabel("milliseconds from asking to the last byte")
    chart.set_yticks([row + 0.4 - height / 2 for row in range(len(panels))], panels)
    chart.invert_yaxis()
    chart.grid(axis="x", alpha=0.3)
    chart.legend(fontsize="small", frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    figure.savefig(out, metadata={"Date": None}, bbox_inches="tight")


def main() -> None:
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    *loads, out = (Path(argument) for argument in sys.argv[1:])
    draw([json.loads(one.read_text(encoding="utf-8"))["runs"] for one in loads], out)


if __name__ == "__main__":
    main()
