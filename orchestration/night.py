"""One night: the steps, and how they are run with Airflow or without it.

Every step is a function of the settings and the day. It opens what it needs, may be repeated, and
may be killed: what it leaves half done is never served, and the next run does it again. Airflow
runs them as tasks; `tillstream night run` runs them one after another. Both go through `perform`,
which lets one night at a time at a database and writes the journal.

What only one step needs is imported there: each task of Airflow begins with importing this.
"""

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial

from clickhouse import queries
from clickhouse.client import Client, connect
from orchestration import late, quality, rollups
from orchestration.day import require_known
from orchestration.journal import Journal, StepReport
from orchestration.lineage import LEARNED_FROM
from orchestration.lock import only_night
from tillstream.clock import SystemClock
from tillstream.settings import Settings

_LOAD_TABLES = ("night_loads", "night_cuts", *rollups.ROLLUPS)
_LOAD_COLUMNS = ["date_key", "run_id", "reason", "sale_lines", "movements", "units", "revenue"]
_RECOMPUTE_TRIES = 3


@dataclass(frozen=True, slots=True)
class Step:
    """`work` returns what it did, in words. `reads` and `writes` are tables, for the lineage."""

    name: str
    work: Callable[[Settings, Client, Journal], str]
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


def _close(
    settings: Settings, client: Client, journal: Journal, *, trust: timedelta = timedelta(0)
) -> str:
    from lake.client import connect as connect_lake
    from orchestration.close import close_day
    from producers.topics import TopicInspector
    from tillstream.audit.verify import Parts

    with TopicInspector(settings.kafka) as inspector:
        lake = connect_lake(settings.lake, url=settings.lake_url)
        parts = Parts(settings.kafka, inspector, client, lake)
        return close_day(parts, journal.day, clock=SystemClock(), trust=trust)


def _check_facts(_settings: Settings, client: Client, journal: Journal) -> str:
    require_known(client, journal.day)
    return _checked(client, journal.day, quality.FACTS)


def _transform(settings: Settings, client: Client, journal: Journal) -> str:
    """Checks come with it: sales that arrive in between are no disagreement, and it begins anew."""
    for attempt in range(_RECOMPUTE_TRIES):
        before = rollups.day_totals(client, journal.day)
        late.stage_cuts(client, journal.day)
        items = rollups.compute(client, journal.day, risk=settings.risk)
        results = quality.run_checks(client, journal.day, tables=quality.STAGED)
        moved = rollups.day_totals(client, journal.day) != before
        if not moved or attempt == _RECOMPUTE_TRIES - 1:
            quality.require_critical(results, day=journal.day)
            break
    return f"{items:,} items of stores, {before.sale_lines:,} sale lines"


def _load(_settings: Settings, client: Client, journal: Journal) -> str:
    return _put_in_service(client, journal, reason="night")


def _correct(settings: Settings, client: Client, journal: Journal) -> str:
    """Do the days again that late events changed, and only those."""
    cuts = late.newest_cuts(client)
    days = late.late_days(client)
    for day in days:
        again = Journal(client, settings, journal.run_id, day)
        with again.step("correct", reads=("fact_sales", "fact_inventory"), writes=_LOAD_TABLES):
            _checked(client, day, quality.FACTS)
            _transform(settings, client, again)
            _put_in_service(client, again, reason="correction")
    late.settle(client, cuts, but=set(days))
    if not days:
        return "no earlier day changed"
    return f"{len(days)} days done again: {', '.join(map(str, days))}"


def _report(settings: Settings, client: Client, journal: Journal) -> str:
    from orchestration.report import write_reports

    folder = settings.home / "reports" / journal.day.isoformat()
    written = write_reports(client, journal.day, folder)
    return f"{written} reports in {folder}"


def _learn(settings: Settings, client: Client, journal: Journal) -> str:
    """What live scores begin with. A night of the past does not undo what a later one learned."""
    as_of = datetime.combine(journal.day, time(), tzinfo=UTC) + timedelta(days=1)
    as_of_ms = round(as_of.timestamp() * 1000)
    if as_of_ms > SystemClock().now_ms():
        return "the day is not over: nothing is learned from it yet"
    newest = queries.select(client, "SELECT max(as_of) AS newest FROM demand_belief")
    if newest["newest"][0].as_py() > as_of:
        return "a later day was learned from before"
    from tillstream.learning.stored import learn_stored

    found = learn_stored(client, as_of_ms=as_of_ms)
    if not found:
        return "no stock was reported: nothing to learn from"
    if settings.risk.forecast_priors:
        from orchestration.forecast_tables import centre_beliefs

        centre_beliefs(client, journal.day)
    return f"{found['items']:,} beliefs of demand"


def _checked(client: Client, day: date, tables: tuple[str, ...]) -> str:
    results = quality.run_checks(client, day, tables=tables)
    quality.require_critical(results, day=day)
    failed = [one for one in results if not one.passed]
    return f"{len(results)} checks, {len(failed)} with findings" + "".join(
        f"; {one}" for one in failed
    )


def _put_in_service(client: Client, journal: Journal, *, reason: str) -> str:
    totals = rollups.day_totals(client, journal.day)
    rollups.publish(client, journal.day)
    client.insert(
        "night_loads",
        [
            [
                *(journal.day, journal.run_id, reason),
                *(totals.sale_lines, totals.movements, totals.units, totals.revenue),
            ]
        ],
        column_names=_LOAD_COLUMNS,
    )
    late.publish_cuts(client, journal.day)
    journal.resolve_alert()
    return f"{totals.units:,} units, {totals.revenue} revenue in service"


_FACTS = ("fact_sales", "fact_inventory")
_DIMENSIONS = ("demand_prior", "dim_product", "dim_store")
_MADE_FROM = (*_FACTS, "shelf_turns", "item_sales_daily", *_DIMENSIONS)

STEPS: tuple[Step, ...] = (
    Step("close", _close, reads=(*_FACTS, "stream_commits")),
    Step("check", _check_facts, reads=_FACTS, writes=("quality_results",)),
    Step("transform", _transform, reads=_MADE_FROM, writes=("quality_results",)),
    Step("load", _load, reads=_MADE_FROM, writes=_LOAD_TABLES),
    Step("correct", _correct, reads=_MADE_FROM, writes=_LOAD_TABLES),
    Step("report", _report, reads=(*rollups.ROLLUPS, "quality_results")),
    Step(
        "learn",
        _learn,
        reads=LEARNED_FROM,
        writes=("demand_belief", "demand_model", "phantom_stock"),
    ),
)


# One verification serves the nights of a backfill, for so long.
_TRUST = timedelta(minutes=15)
_CLOSE_IN_BACKFILL = replace(STEPS[0], work=partial(_close, trust=_TRUST))


def step_named(name: str, *, in_backfill: bool = False) -> Step:
    if in_backfill and name == _CLOSE_IN_BACKFILL.name:
        return _CLOSE_IN_BACKFILL
    return next(step for step in STEPS if step.name == name)


def new_run_id() -> str:
    return uuid.uuid4().hex[:12]


def perform(settings: Settings, day: date, step: Step, *, run_id: str, wait_s: float = 0.0) -> str:
    """One step of one day, alone. Raises TillstreamError, with a hint for the operator."""
    doing = f"{step.name} of {day}"
    with only_night(settings.home, settings.warehouse.database, doing=doing, wait_s=wait_s):
        return _perform(settings, day, step, run_id=run_id).detail


def run_night(
    settings: Settings,
    day: date,
    *,
    skip: tuple[str, ...] = (),
    on_step: Callable[[StepReport], None] = lambda _: None,
) -> list[StepReport]:
    """The whole night of one day, without Airflow. Steps named in `skip` are left out.

    Raises TillstreamError from the step that failed; what was in service then stays.
    """
    return run_nights(settings, [day], skip=skip, on_step=on_step)


def run_nights(
    settings: Settings,
    days: Sequence[date],
    *,
    skip: tuple[str, ...] = (),
    on_step: Callable[[StepReport], None] = lambda _: None,
) -> list[StepReport]:
    """Several nights. The stream is waited for and verified once, on the last day, which covers
    the others; corrections, the report and learning also come once, at the end."""
    run_id = new_run_id()
    work = [(max(days), step_named("close"))]
    work += [(day, step_named(name)) for day in days for name in ("check", "transform", "load")]
    work += [(max(days), step_named(name)) for name in ("correct", "report", "learn")]
    reports = []
    database = settings.warehouse.database
    with only_night(settings.home, database, doing=f"{len(days)} nights up to {max(days)}"):
        for day, step in work:
            if step.name in skip:
                continue
            on_step(StepReport(step.name))
            reports.append(_perform(settings, day, step, run_id=run_id))
            on_step(reports[-1])
    return reports


def _perform(settings: Settings, day: date, step: Step, *, run_id: str) -> StepReport:
    with _journal(settings, day, run_id) as journal:
        with journal.step(step.name, reads=step.reads, writes=step.writes) as report:
            report.detail = step.work(settings, journal.client, journal)
        return report


@contextmanager
def _journal(settings: Settings, day: date, run_id: str) -> Iterator[Journal]:
    with closing(connect(settings.warehouse)) as client:
        yield Journal(client, settings, run_id, day)
