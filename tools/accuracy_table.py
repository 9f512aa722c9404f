"""The tables of docs/accuracy.md, from the answers of `tillstream evaluate --json`.

python tools/accuracy_table.py quiet-tuesday-101.json supplier-strike-101.json …
"""

import json
import sys
from pathlib import Path
from typing import Any

_RULES = ("fixed threshold", "reorder point", "days of cover", "normal approximation")


def main(paths: list[str]) -> None:
    runs = [json.loads(Path(path).read_text(encoding="utf-8")) for path in sorted(paths)]
    print(
        "| scenario, seed | decisions | ran out | skill: ours, oracle | ratio "
        "| PR-AUC: ours, oracle | ratio | recall ratio | calibration error |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for run in runs:
        by_name = {report["name"]: report for report in run["reports"]}
        ours, oracle = by_name["tillstream"], by_name["oracle"]
        print(
            f"| {run['scenario']}, {run['seed']} | {run['decisions']:,} | {ours['base_rate']:.1%} "
            f"| {_value(ours, 'skill')}, {_value(oracle, 'skill')} | {_ratio(ours, 'skill')} "
            f"| {_value(ours, 'pr_auc')}, {_value(oracle, 'pr_auc')} | {_ratio(ours, 'pr_auc')} "
            f"| {_ratio(ours, 'recall')} | {ours['scores']['calibration_error']['value']:.4f} |"
        )
    print()
    print("| scenario, seed | 0–1 % | 1–5 % | 5–20 % | 20–50 % | over 50 % |")
    print("|---|---|---|---|---|---|")
    for run in runs:
        bands = run["reports"][0]["bands"]
        print(f"| {run['scenario']}, {run['seed']} | " + " | ".join(map(_band, bands)) + " |")
    print()
    print("| scenario, seed | ours | " + " | ".join(_RULES) + " | the oracle that sees the shelf |")
    print("|---|---|" + "---|" * (len(_RULES) + 1))
    for run in runs:
        by_name = {report["name"]: report for report in run["reports"]}
        names = ("tillstream", *_RULES, "oracle, physical stock")
        found = " | ".join(_value(by_name[name], "pr_auc") for name in names)
        print(f"| {run['scenario']}, {run['seed']} | {found} |")


def _value(report: dict[str, Any], score: str) -> str:
    return f"{report['scores'][score]['value']:.3f}"


def _ratio(report: dict[str, Any], score: str) -> str:
    ratio = report["ratios"][score]
    return f"**{ratio['value']:.2f}** ({ratio['low']:.2f} to {ratio['high']:.2f})"


def _band(band: dict[str, Any]) -> str:
    seen = band["observed"]
    inside = seen["low"] <= band["predicted"] <= seen["high"]
    told = f"{band['predicted']:.2%} said, {seen['low']:.2%} to {seen['high']:.2%} seen"
    return told if inside else f"*{told}*"


if __name__ == "__main__":
    main(sys.argv[1:])
