"""How forecasts did beside others, as tables for a terminal and for a document."""

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from tillstream.cli.output import console

if TYPE_CHECKING:
    from tillstream.evaluation.forecast.backtest import Result

_SHOWN = {
    "wape": "WAPE",
    "bias": "bias",
    "mase": "MASE",
    "wrmsse": "WRMSSE",
    "pinball": "pinball",
    "coverage_50": "50 %",
    "coverage_67": "67 %",
    "coverage_95": "95 %",
    "coverage_99": "99 %",
}
_LOWER_IS_BETTER = ("wape", "mase", "wrmsse", "pinball")


def show_tables(results: "list[Result]") -> None:
    for level in dict.fromkeys(result.level for result in results):
        rows = [result for result in results if result.level == level]
        table = Table(
            box=box.SIMPLE_HEAD, title=f"{level}: {rows[0].series:,} series", title_justify="left"
        )
        table.add_column("")
        for name in _SHOWN.values():
            table.add_column(name, justify="right")
        for row in rows:
            table.add_row(row.method, *(f"{row.scores[name].value:.3f}" for name in _SHOWN))
        console.print(table)
        console.print(_verdict(rows))


def _verdict(rows: "list[Result]") -> str:
    """Where we are worse than one of the others, or not surely better."""
    said = []
    for row in rows[1:]:
        for name in _LOWER_IS_BETTER:
            less = row.ours_less[name]
            if less.value >= 0:
                said.append(f"worse than {row.method} in {_SHOWN[name]} by {less.value:.3f}")
            elif less.high >= 0:
                said.append(f"not surely better than {row.method} in {_SHOWN[name]}")
    return "; ".join(said) or "better than every other in every score"


def show_markdown(results: "list[Result]") -> None:
    for level in dict.fromkeys(result.level for result in results):
        rows = [result for result in results if result.level == level]
        print(f"\n**{level}** ({rows[0].series:,} series): {_verdict(rows)}\n")
        print("| method | " + " | ".join(_SHOWN.values()) + " |")
        print("|---" * (len(_SHOWN) + 1) + "|")
        for row in rows:
            cells = []
            for name in _SHOWN:
                score = row.scores[name]
                text = f"{score.value:.3f}"
                if name in ("wape", "wrmsse", "pinball"):
                    text += f" ({score.low:.3f} to {score.high:.3f})"
                cells.append(text)
            print(f"| {row.method} | " + " | ".join(cells) + " |")
