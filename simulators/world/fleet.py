"""A whole run: one share a process, each with stores and a publisher of its own."""

import json
import multiprocessing
import queue
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final, Self

from producers.bulk import BulkPublisher
from simulators.ledger import Ledger
from simulators.world.messages import Writer
from simulators.world.run import ShareReport, ShareRun
from simulators.world.scenario import Scenario
from simulators.world.truth import merge_parts
from simulators.world.world import make_world
from tillstream.contracts.catalogue import load_catalogue
from tillstream.contracts.identity import required_key
from tillstream.contracts.topics import SOURCE_TOPICS
from tillstream.errors import ConfigError, ServiceError, TillstreamError
from tillstream.settings import Settings

RUN_FILE: Final = "run.json"
_POLL_S: Final = 0.2
_STOP_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Spec:
    """All that a share needs to know. `began` is when a paced run starts, in seconds since 1970."""

    settings: Settings
    scenario: Scenario
    start_ms: int
    folder: Path
    share: int
    shares: int
    patience_s: float


@dataclass(frozen=True, slots=True)
class Told:
    """What a share says: a report, trouble in words, or the error that ended it."""

    share: int
    report: ShareReport | None = None
    trouble: str | None = None
    failure: TillstreamError | None = None


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a run has sent so far, over all shares. `trouble` is the last word on what is wrong."""

    acknowledged: int
    attempted: int
    faults: int
    by_topic: Mapping[str, int]
    event_time_ms: int | None
    behind_s: float
    cpu_s: float
    elapsed_s: float
    done: bool
    interrupted: bool
    trouble: str | None = None

    @property
    def complete(self) -> bool:
        """Whether the run came to its end and Kafka holds every event."""
        return self.done and not self.interrupted and self.acknowledged == self.attempted


@dataclass(slots=True)
class Fleet:
    """The shares of one run. Use it in a `with`: leaving it stops what still runs."""

    settings: Settings
    scenario: Scenario
    start_ms: int
    folder: Path
    processes: int = 1
    patience_s: float = 60.0
    _workers: list[BaseProcess | threading.Thread] = field(default_factory=list)
    _told: Any = None
    _stop: Any = None
    _last: dict[int, ShareReport] = field(default_factory=dict)
    _trouble: str | None = None
    _failure: TillstreamError | None = None
    _began: float = 0.0

    def run(self, on_progress: Callable[[RunReport], None] = lambda _: None) -> RunReport:
        """Start, and wait for the end. Ctrl-C stops sending and waits for what is under way.

        Raises the first error of a share, once all have ended. Ledgers and truth are complete for
        all that was sent.
        """
        interrupted = False
        while self._running():
            try:
                self._listen()
                on_progress(self.report())
                if self._failure is not None:
                    self._stop.set()
            except KeyboardInterrupt:
                interrupted = True
                self._stop.set()
        self._listen()
        merge_parts(self.folder, self.processes)
        report = self.report()
        report = replace(
            report,
            done=len(self._last) == self.processes and all(o.done for o in self._last.values()),
            interrupted=interrupted or report.interrupted,
        )
        write_run_file(self.folder, self.scenario, self.start_ms, self.processes, report)
        on_progress(report)
        if self._failure is not None:
            raise self._failure
        return report

    def stop(self) -> None:
        """End the run soon; safe from any thread."""
        self._stop.set()

    def report(self) -> RunReport:
        last = list(self._last.values())
        times = [one.event_time_ms for one in last if one.event_time_ms is not None]
        return RunReport(
            acknowledged=sum(one.acknowledged for one in last),
            attempted=sum(one.attempted for one in last),
            faults=sum(one.faults for one in last),
            by_topic={
                topic.value: sum(one.by_topic.get(topic.value, 0) for one in last)
                for topic in SOURCE_TOPICS
            },
            event_time_ms=max(times, default=None),
            behind_s=max((one.behind_s for one in last), default=0.0),
            cpu_s=round(sum(one.cpu_s for one in last), 2),
            elapsed_s=round(time.monotonic() - self._began, 2),
            done=False,
            interrupted=any(one.interrupted for one in last),
            trouble=self._trouble,
        )

    def _running(self) -> bool:
        return any(worker.is_alive() for worker in self._workers)

    def _listen(self) -> None:
        """Take in all that shares have said, waiting a little for the first word."""
        wait_s = _POLL_S
        while True:
            try:
                told: Told = self._told.get(timeout=wait_s)
            except queue.Empty:
                return
            wait_s = 0.0 if self._running() else 0.05
            if told.report is not None:
                advanced = told.report.acknowledged > self._acknowledged_by(told.share)
                self._trouble = None if advanced else self._trouble
                self._last[told.share] = told.report
            self._trouble = told.trouble or self._trouble
            self._failure = self._failure or told.failure

    def _acknowledged_by(self, share: int) -> int:
        return self._last[share].acknowledged if share in self._last else 0

    def __enter__(self) -> Self:
        prepare_folder(self.folder)
        write_run_file(self.folder, self.scenario, self.start_ms, self.processes, None)
        self._began = time.monotonic()
        specs = [
            Spec(
                settings=self.settings,
                scenario=self.scenario,
                start_ms=self.start_ms,
                folder=self.folder,
                share=share,
                shares=self.processes,
                patience_s=self.patience_s,
            )
            for share in range(self.processes)
        ]
        if self.processes == 1:
            self._told, self._stop = queue.Queue(), threading.Event()
            arguments = (specs[0], self._told, self._stop)
            self._workers = [threading.Thread(target=run_share, args=arguments, daemon=True)]
        else:
            # Forking a process that has threads and clients is not safe.
            spawn = multiprocessing.get_context("spawn")
            self._told, self._stop = spawn.Queue(), spawn.Event()
            self._workers = [
                spawn.Process(target=_in_process, args=(spec, self._told, self._stop), daemon=True)
                for spec in specs
            ]
        for worker in self._workers:
            worker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        deadline = time.monotonic() + _STOP_S
        for worker in self._workers:
            worker.join(max(0.0, deadline - time.monotonic()))
            if isinstance(worker, BaseProcess) and worker.is_alive():
                worker.kill()
                worker.join()


def _in_process(spec: Spec, told: Any, stop: Any) -> None:
    # Ctrl-C reaches the whole group; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    run_share(spec, told, stop)


def run_share(spec: Spec, told: Any, stop: Any) -> None:
    """Run one share to its end, telling `told` (a queue) of it. Ends soon after `stop` (an event)
    is set."""

    def trouble(words: str) -> None:
        told.put(Told(spec.share, trouble=words))
        if stop.is_set():
            raise ServiceError(words, hint="the run was stopped while Kafka did not answer")

    try:
        _run_share(spec, told, stop, trouble)
    except TillstreamError as exc:
        told.put(Told(spec.share, failure=exc))
    except Exception as exc:
        told.put(Told(spec.share, failure=TillstreamError(f"share {spec.share} failed: {exc!r}")))
        raise


def _run_share(spec: Spec, told: Any, stop: Any, trouble: Callable[[str], None]) -> None:
    settings = spec.settings
    key = required_key(settings.customer_key.get_secret_value().encode())
    catalogue = load_catalogue(settings.registry)
    with ExitStack() as stack:
        sender = stack.enter_context(
            BulkPublisher(
                settings.kafka, SOURCE_TOPICS, patience_s=spec.patience_s, on_trouble=trouble
            )
        )
        world = make_world(spec.scenario, start_ms=spec.start_ms)
        ledger = stack.enter_context(Ledger.create(ledger_path(spec.folder, spec.share)))
        ShareRun(
            world,
            Writer(catalogue, world.run_tag, world.start_ms, world.slot_ms, key),
            sender,
            share=spec.share,
            shares=spec.shares,
            folder=spec.folder,
            ledger=ledger,
            on_report=lambda report: told.put(Told(spec.share, report=report)),
            stopped=stop.is_set,
        ).run()


def ledger_path(folder: Path, share: int) -> Path:
    return folder / f"ledger-{share}.jsonl"


def prepare_folder(folder: Path) -> None:
    """A new folder for a run. Raises ConfigError when it exists or cannot be made."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError as exc:
        raise ConfigError(
            f"the run {folder} already exists", hint="choose another folder with --out"
        ) from exc
    except OSError as exc:
        raise ConfigError(f"cannot make the folder {folder}: {exc}") from exc


def write_run_file(
    folder: Path, scenario: Scenario, start_ms: int, processes: int, report: RunReport | None
) -> None:
    """What was run: enough to run it again, and how it ended."""
    content = {
        "scenario": scenario.model_dump(mode="json"),
        "start_ms": start_ms,
        "processes": processes,
        "report": asdict(report) | {"complete": report.complete} if report else None,
    }
    (folder / RUN_FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
