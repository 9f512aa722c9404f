"""How long the steps of the live batches took, read from the stream's own log."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

_BATCH = re.compile(
    r"live batch (?P<id>\d+): (?P<counted>\d+) counted, (?P<duplicates>\d+) duplicates, "
    r"(?P<refused>\d+) refused(?P<steps>(?: \w+=[\d.]+s)*)"
)
# Spark's own account, one line a batch: {"batchId": …, "numInputRows": …, "durationMs": {…}}
_PROGRESS = re.compile(r"live progress (?P<json>\{.*\})\s*$")
_STEP = re.compile(r"(\w+)=([\d.]+)s")


@dataclass(frozen=True, slots=True)
class BatchSteps:
    """One batch: its records and the seconds of each step of the sink, in order."""

    batch_id: int
    records: int
    seconds: dict[str, float]

    @property
    def total_s(self) -> float:
        return sum(self.seconds.values())


def parse_batches(lines: Iterable[str]) -> list[BatchSteps]:
    """The live batches that held records, in the order of the log."""
    found = []
    for line in lines:
        match = _BATCH.search(line)
        if match is None:
            continue
        records = sum(int(match[name]) for name in ("counted", "duplicates", "refused"))
        if records:
            steps = {name: float(seconds) for name, seconds in _STEP.findall(match["steps"])}
            found.append(BatchSteps(int(match["id"]), records, steps))
    return found


def parse_progress(lines: Iterable[str]) -> dict[int, dict[str, float]]:
    """Spark's milliseconds by phase (latestOffset, queryPlanning, walCommit, addBatch, …) of the
    live batches that held records, by batch."""
    found = {}
    for line in lines:
        match = _PROGRESS.search(line)
        if match is None:
            continue
        told = json.loads(match["json"])
        if told["numInputRows"]:
            found[told["batchId"]] = {name: float(ms) for name, ms in told["durationMs"].items()}
    return found


def mean_steps(batches: Iterable[BatchSteps]) -> dict[str, float]:
    """The mean seconds of each step over the batches that have it."""
    by_step: dict[str, list[float]] = {}
    for batch in batches:
        for name, seconds in batch.seconds.items():
            by_step.setdefault(name, []).append(seconds)
    return {name: round(fmean(values), 4) for name, values in by_step.items()}
