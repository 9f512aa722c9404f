"""Curves of a judgement: how risk and what happened agree, and precision against recall.

Drawn with matplotlib, which is there in a development environment alone.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tillstream.errors import ConfigError
from tillstream.evaluation.metrics import precision_recall, quantile_bins, wilson

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_MOST_POINTS = 2000


def plot_calibration(path: Path, risks: Mapping[str, Floats], ran_out: Bools) -> None:
    """Mean risk and observed rate (with Wilson's interval) by twenty bins, a line a predictor; SVG
    or PNG, by the ending of `path`. Raises ConfigError without matplotlib."""

    def draw(axes: Any) -> None:
        axes.plot([1e-4, 1], [1e-4, 1], color="0.6", linewidth=1, label="as said")
        for number, (name, risk) in enumerate(risks.items()):
            bins = quantile_bins(risk)
            said, seen, low, high = [], [], [], []
            for one in np.unique(bins):
                here = bins == one
                hits, count = int(ran_out[here].sum()), int(here.sum())
                interval = wilson(hits, count)
                said.append(float(risk[here].mean()))
                seen.append(hits / count)
                low.append(max(0.0, hits / count - interval[0]))
                high.append(max(0.0, interval[1] - hits / count))
            axes.errorbar(
                said, seen, yerr=(low, high), color=f"C{number}", marker="o", ms=3, label=name
            )
        axes.set_xscale("symlog", linthresh=0.01)
        axes.set_yscale("symlog", linthresh=0.01)

    _save(path, "What was said, and what happened", draw, "predicted risk", "share that ran out")


def plot_precision_recall(path: Path, ranks: Mapping[str, Floats], ran_out: Bools) -> None:
    """As `plot_calibration`, for everything that ranks."""

    def draw(axes: Any) -> None:
        for number, (name, rank) in enumerate(ranks.items()):
            precision, recall = precision_recall(rank, ran_out)
            keep = np.unique(np.linspace(0, len(recall) - 1, _MOST_POINTS).astype(int))
            axes.plot(recall[keep], precision[keep], color=f"C{number}", label=name)
        axes.set_ylim(0, 1)

    _save(path, "Of all warnings, of all that ran out", draw, "recall", "precision")


def _save(path: Path, title: str, draw: Any, xlabel: str, ylabel: str) -> None:
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ModuleNotFoundError as exc:
        raise ConfigError(
            "curves need matplotlib, which is not installed", hint="uv sync --group dev"
        ) from exc
    figure = Figure(figsize=(6.4, 4.0))
    axes = figure.subplots()
    draw(axes)
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    with mpl.rc_context({"svg.hashsalt": "tillstream"}):
        dated = {"Date": None} if path.suffix == ".svg" else {}
        figure.savefig(path, metadata=dated, dpi=150)
