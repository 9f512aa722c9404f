"""Draw the time series of `tillstream bench latency --series PATH` as docs/soak.svg.

python tools/plot_soak.py soak.jsonl docs/soak.svg
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # the backend must be chosen first

_KINDS = ("fact", "window", "risk", "alert")


def draw(rows: list[dict[str, Any]], out: Path) -> None:
    """Four charts over the same minutes: latency, memory, lag, batch time."""
    minutes = [row["elapsed_s"] / 60 for row in rows]
    figure, axes = plt.subplots(4, 1, figsize=(9, 9), sharex=True, constrained_layout=True)
    latency, memory, lag, batch = axes
    for kind in _KINDS:
        latency.plot(minutes, [row["p99_ms"].get(kind) for row in rows], label=f"{kind} p99")
    latency.plot(minutes, [row["p50_ms"].get("fact") for row in rows], "k:", label="fact p50")
    latency.set_ylabel("event to queryable, ms")
    parts = list(dict.fromkeys(part for row in rows for part in row["mib"]))
    sizes = [[row["mib"].get(part, 0.0) for row in rows] for part in parts]
    memory.stackplot(minutes, sizes, labels=parts, alpha=0.8)
    memory.set_ylabel("memory (PSS), MiB")
    lag.plot(minutes, [row["lag"] for row in rows], label="records waiting")
    lag.plot(minutes, [row["rate"] for row in rows], "k:", label="events/s sent")
    lag.set_ylabel("events")
    batch.plot(minutes, [row["mean_batch_s"] for row in rows], label="mean time of a batch")
    batch.set_ylabel("s")
    batch.set_xlabel("minutes under load")
    for chart in axes:
        chart.set_ylim(bottom=0)
        chart.grid(alpha=0.3)
        chart.legend(
            loc="lower left", bbox_to_anchor=(0, 1), ncols=5, fontsize="small", frameon=False
        )
    figure.savefig(out, metadata={"Date": None})


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    series, out = (Path(argument) for argument in sys.argv[1:])
    rows = [json.loads(line) for line in series.read_text(encoding="utf-8").splitlines()]
    draw(rows, out)


if __name__ == "__main__":
    main()
