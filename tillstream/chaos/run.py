"""One seed from an empty home to the verdict."""

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from simulators.ledger import read_ledgers
from tillstream.audit.verify import verify
from tillstream.chaos.arena import Arena, Wiring, arena
from tillstream.chaos.faults import FINALE, PAIRS, Action, Pair
from tillstream.chaos.fleet import Fleet
from tillstream.chaos.judge import Verdict, judge
from tillstream.chaos.schedule import Step, plan
from tillstream.chaos.strike import NotRun, Striker
from tillstream.chaos.witness import Witness
from tillstream.contracts.catalogue import load_catalogue
from tillstream.contracts.codec import Codec
from tillstream.errors import ConfigError, ServiceError, TillstreamError
from tillstream.settings import Settings

_TRIES = 3
_LONGEST_NAP_S = 0.5

OnPhase = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run. `only` keeps the pairs of some actions; `home` None is a scratch folder."""

    seed: int
    minutes: float = 3.0
    rate: float = 5_000.0
    only: tuple[Action, ...] = ()
    pairs: tuple[Pair, ...] = PAIRS
    deduplicate: bool = True
    minio: Path | None = None
    home: Path | None = None
    keep: bool = False

    @property
    def is_kept(self) -> bool:
        return self.keep or self.home is not None

    def steps(self) -> tuple[Step, ...]:
        return plan(self.seed, minutes=self.minutes, only=self.only, pairs=self.pairs)


@dataclass(frozen=True, slots=True)
class Done:
    """One step, as it happened. `problem` is empty when the platform was whole again after it."""

    pair: Pair
    planned_at_s: float
    began_at_s: float
    hold_s: float
    recovered_s: float
    ran: bool
    detail: str
    problem: str = ""


@dataclass(slots=True)
class Outcome:
    """What a seed did to the platform. `findings` is empty when nothing was lost or doubled."""

    seed: int
    commit: str | None
    minutes: float
    rate: float
    deduplicate: bool
    home: Path | None = None
    steps: list[Done] = field(default_factory=list)
    events: dict[str, int] = field(default_factory=dict)
    tables: list[Verdict] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        return not self.findings

    @property
    def is_evidence(self) -> bool:
        """Whether it found damage that nobody asked for."""
        return self.deduplicate and not self.clean

    @property
    def covered(self) -> list[Pair]:
        return sorted({step.pair for step in self.steps if step.ran})


def run_seed(
    base: Settings, wanted: Plan, wiring: Wiring, *, on_phase: OnPhase = lambda _: None
) -> Outcome:
    """Run one seed and judge it. Raises TillstreamError only when the platform could not even be
    started; everything after that is a finding. Ctrl-C and SIGTERM leave nothing running."""
    outcome = Outcome(
        wanted.seed, commit_of_code(), wanted.minutes, wanted.rate, wanted.deduplicate
    )
    steps = wanted.steps()
    disks = {step.pair.target for step in steps if step.pair.action is Action.FULL_DISK}
    with _home(wanted, outcome) as home, _interruptible():
        with arena(
            base,
            home,
            wiring,
            minio=wanted.minio,
            deduplicate=wanted.deduplicate,
            disks=sorted(disks),
        ) as found:
            found.is_kept = wanted.is_kept
            _run(wanted, steps, found, outcome, on_phase)
            # Damage that was not expected is worth looking at.
            found.is_kept = found.is_kept or outcome.is_evidence
        if found.is_kept:
            outcome.home = home
    return outcome


def _run(
    wanted: Plan, steps: tuple[Step, ...], found: Arena, outcome: Outcome, on_phase: OnPhase
) -> None:
    clock = _Laps(outcome.seconds)
    on_phase("starting")
    _start(found)
    clock.lap("start")
    fleet = Fleet(
        found.home, found.producer_bootstrap, wanted.seed, wanted.rate, Codec(load_catalogue())
    )
    striker = Striker(found, fleet, Witness(found.settings.kafka))
    try:
        fleet.ensure()
        began = time.monotonic()
        for step in steps:
            if step.pair != FINALE:
                _sleep_until(began + step.at_s)
                on_phase(str(step.pair))
                outcome.steps.append(_take(step, striker, began, outcome.findings))
        on_phase("calm")
        _sleep_until(began + wanted.minutes * 60)
        clock.lap("load")
        _settle(found, fleet, on_phase)
        clock.lap("catch up")
        on_phase("judging")
        _judge(found, striker, outcome)
        clock.lap("judge")
        for step in steps:
            if step.pair == FINALE:
                on_phase(str(step.pair))
                outcome.steps.append(_take(step, striker, began, outcome.findings, is_last=True))
                clock.lap("finale")
    except TillstreamError as exc:
        outcome.findings.append(str(exc))
    finally:
        fleet.kill_all()  # those still running were interrupted, or have nobody to send to


def _start(found: Arena) -> None:
    """Raises ServiceError when the platform does not come up, even when asked again."""
    for _ in range(_TRIES - 1):
        with suppress(ServiceError):
            return found.up()
    return found.up()


def _take(
    step: Step, striker: Striker, began: float, findings: list[str], *, is_last: bool = False
) -> Done:
    """Do a step and bring the platform back. What goes wrong is written down, and we go on."""
    at_s = time.monotonic() - began
    ran, problem = True, ""
    try:
        detail = striker.strike(step)
    except NotRun as exc:
        ran, detail = False, str(exc)
    except (TillstreamError, OSError) as exc:
        ran, detail, problem = False, "failed", str(exc)
    over = time.monotonic()
    if not is_last:
        problem = problem or _heal(striker)
    if problem:
        findings.append(f"{step.pair} at {at_s:.0f} s: {problem}")
    return Done(
        step.pair,
        step.at_s,
        round(at_s, 1),
        step.hold_s,
        round(time.monotonic() - over, 1),
        ran,
        detail,
        problem,
    )


def _heal(striker: Striker) -> str:
    problem = ""
    for _ in range(_TRIES):
        try:
            striker.heal()
        except TillstreamError as exc:
            problem = str(exc)
        else:
            return ""
    return problem


def _settle(found: Arena, fleet: Fleet, on_phase: OnPhase) -> None:
    """No producer any more, and everything that Kafka acknowledged is stored."""
    fleet.stop_all()
    found.up()
    found.catch_up(lambda now: on_phase(f"catching up: {now.behind:,} + {now.lake_behind:,} left"))


def _judge(found: Arena, striker: Striker, outcome: Outcome) -> None:
    ledger = read_ledgers(striker.fleet.ledgers)
    records = striker.witness.records()
    with found.wiring.open_parts(found.settings) as parts:
        audit = verify(parts, ledger=ledger)
        outcome.tables = judge(parts.client, parts.lake, records)
    outcome.findings += [
        f"verify {check.name}: {finding.kind}: {finding.detail}"
        for check in audit.checks
        for finding in check.findings[:5]
    ]
    outcome.findings += [
        f"verify {check.name}: {check.disagreeing} disagree"
        for check in audit.checks
        if not check.clean
    ]
    outcome.findings += [
        f"model {verdict.table}: {verdict.missing} missing, {verdict.unexpected} unexpected, "
        f"{verdict.different} different, {verdict.doubled} doubled; "
        + "; ".join(verdict.differences)
        for verdict in outcome.tables
        if not verdict.clean
    ]
    rows = {verdict.table: verdict.rows for verdict in outcome.tables}
    outcome.events = {
        "sent": ledger.num_rows,
        "records": len(records),
        "facts": rows["fact_sales"] + rows["fact_inventory"],
        "duplicates": rows["duplicates"],
        "quarantine": rows["quarantine"],
    }


def commit_of_code() -> str | None:
    """The commit this code was checked out at, with `+` when files differ; None outside git."""
    folder = Path(__file__).resolve().parent
    try:
        commit, changed = (
            subprocess.run(
                ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True
            ).stdout.strip()
            for words in (("rev-parse", "--short=12", "HEAD"), ("status", "--porcelain", "-uno"))
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}+" if changed else commit


@contextmanager
def _home(wanted: Plan, outcome: Outcome) -> Iterator[Path]:
    if wanted.home is not None:
        if wanted.home.exists() and any(wanted.home.iterdir()):
            raise ConfigError(f"{wanted.home} is not empty", hint="chaos needs a new folder")
        wanted.home.mkdir(parents=True, exist_ok=True)
        yield wanted.home
        return
    home = Path(tempfile.mkdtemp(prefix="tillstream-chaos-"))
    try:
        yield home
    finally:
        if not wanted.is_kept and outcome.home is None:
            shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _sleep_until(moment: float) -> None:
    while (left := moment - time.monotonic()) > 0:
        time.sleep(min(left, _LONGEST_NAP_S))


class _Laps:
    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds = seconds
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self._seconds[name] = round(now - self._last, 1)
        self._last = now
