"""Results that accumulate: one JSON line a seed, and the table made of them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tillstream.chaos.faults import PAIRS, Pair
from tillstream.chaos.run import Outcome
from tillstream.chaos.schedule import parse_pair, uncovered
from tillstream.errors import ConfigError

_BEGIN, _END = "<!-- chaos:begin -->", "<!-- chaos:end -->"


def as_dict(outcome: Outcome) -> dict[str, Any]:
    """Everything about a run, in JSON's types."""
    told = asdict(outcome)
    for step, done in zip(told["steps"], outcome.steps, strict=True):
        step["pair"] = str(done.pair)
    for table, verdict in zip(told["tables"], outcome.tables, strict=True):
        table["clean"] = verdict.clean
    return told | {
        "clean": outcome.clean,
        "home": str(outcome.home) if outcome.home else None,
        "covered": [str(pair) for pair in outcome.covered],
        "steps": told.pop("steps"),
    }


def append(path: Path, outcome: Outcome) -> None:
    """One more line at the end of a record. Of the tables only the counts are kept."""
    told = as_dict(outcome)
    told["tables"] = {table["table"]: table["rows"] for table in told["tables"]}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(told, separators=(",", ":")) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a record, oldest first; none when there is no such file. Raises ConfigError."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    try:
        return [json.loads(line) for line in lines if line.strip()]
    except ValueError as exc:
        raise ConfigError(f"{path} is not a record of chaos: {exc}") from exc


def is_recorded_clean(
    lines: Iterable[Mapping[str, Any]], *, seed: int, commit: str | None, minutes: float
) -> bool:
    """Whether this seed has run clean at this very commit, for at least so long. A checkout with
    changes of its own is no commit."""
    if commit is None or commit.endswith("+"):
        return False
    return any(
        line["clean"]
        and line["seed"] == seed
        and line["commit"] == commit
        and line["minutes"] >= minutes
        for line in lines
    )


def parse_seeds(text: str) -> range:
    """`1-30` or `7`. Raises ConfigError."""
    first, _, last = text.partition("-")
    try:
        seeds = range(int(first), int(last or first) + 1)
    except ValueError as exc:
        raise ConfigError(f"seeds are given as 1-30 or 7, got {text!r}") from exc
    if not seeds:
        raise ConfigError(f"there is no seed in {text!r}")
    return seeds


def covered(lines: Iterable[Mapping[str, Any]]) -> set[Pair]:
    return {parse_pair(text) for line in lines for text in line["covered"]}


def embedded(document: str, table: str) -> str:
    """A document with what is between its marks replaced. Raises ConfigError without marks."""
    before, begin, rest = document.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ConfigError(f"the document lacks the marks {_BEGIN} and {_END}")
    return f"{before}{begin}\n{table}\n{end}{after}"


def markdown(lines: Iterable[Mapping[str, Any]]) -> str:
    """A table with a row for each commit, and the pairs that no run has met. Runs without
    deduplication, which must fail, are left out."""
    by_commit: dict[str, list[Mapping[str, Any]]] = {}
    for line in lines:
        if line["deduplicate"]:
            by_commit.setdefault(line["commit"] or "unknown", []).append(line)
    if not by_commit:
        return "No campaign has been recorded yet."
    rows = [
        "| commit | seeds | minutes | events/s | records | duplicates | quarantine | failed"
        " | pairs |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for commit, runs in by_commit.items():
        seeds = sorted({run["seed"] for run in runs})
        failed = sorted({run["seed"] for run in runs if not run["clean"]})
        totals = [
            f"{sum(run['events'].get(name, 0) for run in runs):,}"
            for name in ("records", "duplicates", "quarantine")
        ]
        cells = [
            f"`{commit}`",
            _spans(seeds),
            _span(run["minutes"] for run in runs),
            _span(run["rate"] for run in runs),
            *totals,
            _spans(failed) or "none",
            f"{len(covered(runs))} of {len(PAIRS)}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    everything = [run for runs in by_commit.values() for run in runs]
    left = ", ".join(str(pair) for pair in uncovered(covered(everything))) or "none"
    return "\n".join([*rows, "", f"Pairs that no run has met yet: {left}."])


def _spans(numbers: list[int]) -> str:
    """1, 2, 3, 7 as 1–3, 7."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(a) if a == z else f"{a}–{z}" for a, z in spans)


def _span(numbers: Iterable[float]) -> str:
    found = sorted(set(numbers))
    low, high = f"{found[0]:g}", f"{found[-1]:g}"
    return low if low == high else f"{low}–{high}"
