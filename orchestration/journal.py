"""What every night did, step by step, where people and dashboards can read it."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from clickhouse.client import ClickHouseError, Client
from clickhouse.queries import select
from tillstream.errors import ConfigError, TillstreamError
from tillstream.settings import Settings
from tillstream.telemetry.lineage import LineageLog, tables

_STEP_COLUMNS = ["run_id", "date_key", "step", "state", "seconds", "detail", "hint"]


@dataclass(slots=True)
class StepReport:
    """One step as it ended; its work fills in `detail`."""

    step: str
    state: str = "running"
    seconds: float = 0.0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Journal:
    """Writes the steps of one run of one day, and its lineage."""

    client: Client
    settings: Settings
    run_id: str
    day: date
    steps: list[StepReport] = field(default_factory=list)

    @contextmanager
    def step(
        self, name: str, *, reads: tuple[str, ...] = (), writes: tuple[str, ...] = ()
    ) -> Iterator[StepReport]:
        """Record that a step began, and how it ended. A failure is recorded and goes on to the
        caller. It opens an alert, unless somebody merely asked for what makes no sense. A warehouse
        that cannot even be told does not hide it."""
        report = StepReport(name)
        self.steps.append(report)
        began = time.monotonic()
        self._write(report)
        lineage = LineageLog.of(self.settings)
        event = lineage.begin(
            f"night.{name}",
            # The same for the same step of the same run.
            run=uuid.uuid5(uuid.NAMESPACE_URL, f"{self.run_id}/{self.day}/{name}"),
            reads=tables(self.settings, reads),
            writes=tables(self.settings, writes),
        )
        try:
            yield report
        except Exception as exc:
            report.state, report.seconds = "failed", time.monotonic() - began
            report.detail = str(exc)
            again = f"once that is put right: tillstream night run --date {self.day}"
            if isinstance(exc, TillstreamError):
                exc.hint = hint = exc.hint or again
            else:
                hint = again
            lineage.end(event, "FAIL")
            try:
                self._write(report, hint=hint)
                if not isinstance(exc, ConfigError):
                    self._alert(name, "open", str(exc), hint)
            except (ClickHouseError, OSError):
                pass  # the warehouse is the failure: Airflow and the exit code tell of it
            raise
        report.state, report.seconds = "done", time.monotonic() - began
        self._write(report)
        if any(one["step"] == name for one in open_alerts(self.client, self.day)):
            self._alert(name, "resolved", "done again, and well", "")
        lineage.end(event, "COMPLETE")

    def resolve_alert(self) -> None:
        """The day is in service: whatever was wrong with it is over."""
        if open_alerts(self.client, self.day):
            self._alert("load", "resolved", "the day is in service", "")

    def _write(self, report: StepReport, *, hint: str = "") -> None:
        row = [self.run_id, self.day, report.step, report.state, report.seconds, report.detail]
        self.client.insert("night_steps", [[*row, hint]], column_names=_STEP_COLUMNS)

    def _alert(self, step: str, state: str, message: str, hint: str) -> None:
        self.client.insert(
            "night_alerts",
            [[self.day, step, state, message, hint]],
            column_names=["date_key", "step", "state", "message", "hint"],
        )


def open_alerts(client: Client, day: date | None = None) -> list[dict[str, Any]]:
    """(date_key, step, message, hint, at) of what is wrong now, of one day or of all."""
    rows = select(
        client,
        "SELECT date_key, toString(step) AS step, message, hint, toString(at) AS at"
        " FROM night_alerts FINAL WHERE state = 'open'"
        " AND ({any:UInt8} OR date_key = {day:Date}) ORDER BY date_key",
        parameters={"any": int(day is None), "day": day or date(1970, 1, 1)},
    )
    return list(rows.to_pylist())
