"""The ways to keep 5-minute windows, side by side on the same sale lines."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from clickhouse.client import connect
from clickhouse.migrate import migrate
from clickhouse.queries import select
from producers.kafka_publisher import KafkaPublisher
from tillstream.bench.machine import load_average
from tillstream.bench.sales import (
    SaleLines,
    count_wrong,
    expected_windows,
    make_lines,
    sale_events,
)
from tillstream.bench.scratch import scratch_home, scratch_settings
from tillstream.bench.usage import Sampler, Usage
from tillstream.bench.ways import Way, Workload, extra_tables, stored_windows
from tillstream.bench.week import Phase
from tillstream.contracts.catalogue import load_catalogue
from tillstream.contracts.codec import Codec
from tillstream.contracts.topics import Topic
from tillstream.devstack import process
from tillstream.devstack.java import find_java
from tillstream.devstack.parts import Part
from tillstream.devstack.ports import LOOPBACK
from tillstream.devstack.stack import SERVING, Stack
from tillstream.errors import ServiceError
from tillstream.settings import Settings

_LIMIT_S = 600.0
_FLUSH_S = 120.0
_PROGRESS_EVERY = 5_000
# Old enough that no line lies in the future when it is sent.
_AGE_MS = 3 * 3_600_000


@dataclass(frozen=True, slots=True)
class DrainRun:
    """One drain. Seconds count from the start of the Spark process. `wrong` windows differ from
    the sums of the lines that were sent; a run counts when there are none."""

    workload: Workload
    way: Way
    load_average: float
    events: int
    windows: int
    wrong: int
    ready_s: float
    first_batch_s: float
    total_s: float
    steady_events: int
    batch_s: tuple[float, ...]
    spark_ms: dict[str, float]
    usage: dict[str, Usage]

    @property
    def correct(self) -> bool:
        return self.wrong == 0

    @property
    def events_per_s(self) -> float:
        """With everything: the Java start, the session, the first batch."""
        return self.events / self.total_s

    @property
    def steady_events_per_s(self) -> float | None:
        """Without the first batch and what comes before it; None when it was the only one."""
        seconds = self.total_s - self.first_batch_s
        return self.steady_events / seconds if self.steady_events else None

    def rates(self) -> dict[str, Any]:
        steady = self.steady_events_per_s
        return {
            "correct": self.correct,
            "events_per_s": round(self.events_per_s),
            "steady_events_per_s": None if steady is None else round(steady),
        }


def measure_windows(
    base: Settings,
    *,
    events: int,
    batch: int,
    runs: int,
    provision: Callable[[Settings], None],
    workloads: Sequence[Workload] = tuple(Workload),
    ways: Sequence[Way] = tuple(Way),
    on_phase: Callable[[Phase], None] = lambda _: None,
) -> list[DrainRun]:
    """Every workload in a home of its own; the ways take turns, so that whatever else the machine
    does falls on all of them. Raises ServiceError when a drain fails or takes ten minutes."""
    found = []
    total, done = len(workloads) * len(ways) * runs, 0
    for workload in workloads:
        with scratch_home("tillstream-bench-") as home:
            settings = scratch_settings(base, home, lake_trigger_s=base.stream.lake_trigger_s)
            on_phase(Phase(f"{workload}: starting"))
            settings = Stack(settings).up(parts=SERVING, provision=provision)
            lines = make_lines(workload, events, start_ms=time.time_ns() // 1_000_000 - _AGE_MS)
            _publish(settings, lines, lambda share: on_phase(Phase("publishing", share)))
            expected = expected_windows(lines)
            for number in range(1, runs + 1):
                for way in ways:
                    label = f"{workload}, {way}, run {number} of {runs}"
                    on_phase(Phase(label, done / total))
                    database = f"bench_{way.name.lower()}_{number}"
                    found.append(
                        _measure(settings, workload, way, expected, batch=batch, into=database)
                    )
                    done += 1
    return found


def _publish(settings: Settings, lines: SaleLines, on_share: Callable[[float], None]) -> None:
    codec = Codec(load_catalogue(settings.registry))
    with KafkaPublisher(settings.kafka, codec, customer_key=b"none has a customer") as publisher:
        for number, event in enumerate(sale_events(lines)):
            publisher.publish(Topic.SALES, event)
            if number % _PROGRESS_EVERY == 0:
                on_share(number / len(lines))
        publisher.flush(_FLUSH_S)


def _measure(
    settings: Settings,
    workload: Workload,
    way: Way,
    expected: pd.DataFrame,
    *,
    batch: int,
    into: str,
) -> DrainRun:
    migrate(settings.warehouse, database=into)
    with closing(connect(settings.warehouse, database=into)) as client:
        for statement in extra_tables(way):
            client.command(statement)
        load = load_average()
        told, usage = _drain(settings, way, batch=batch, into=into)
        stored = select(client, stored_windows(way)).to_pandas()
        client.command(f"DROP DATABASE {into}")
    batches = told["batches"]
    records = [int(one["records"]) for one in batches]
    ends = [float(one["end_s"]) for one in batches]
    return DrainRun(
        workload=workload,
        way=way,
        load_average=load,
        events=sum(records),
        windows=len(expected),
        wrong=count_wrong(expected, stored),
        ready_s=round(told["ready_s"], 2),
        first_batch_s=round(ends[0], 2),
        total_s=round(ends[-1], 2),
        steady_events=sum(records[1:]),
        batch_s=tuple(round(b - a, 2) for a, b in pairwise(ends)),
        spark_ms=mean_durations([one["spark_ms"] for one in batches[1:] or batches]),
        usage=usage,
    )


def mean_durations(batches: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean milliseconds of each of Spark's phases; one that a batch lacks took none."""
    names = dict.fromkeys(name for one in batches for name in one)
    return {name: round(sum(o.get(name, 0) for o in batches) / len(batches), 1) for name in names}


def _drain(
    settings: Settings, way: Way, *, batch: int, into: str
) -> tuple[dict[str, Any], dict[str, Usage]]:
    """Run the drain in a process of its own, which is gone afterwards."""
    log = settings.home / "logs" / f"{into}.log"
    argv = [sys.executable, "-P", "-m", "tillstream.bench.drain", "--home", str(settings.home)]
    argv += ["--way", way, "--database", into, "--batch", str(batch)]
    argv += ["--began", repr(time.time())]
    env = os.environ | {
        "JAVA_HOME": str(find_java().home),
        "SPARK_LOCAL_IP": LOOPBACK,
        "TILLSTREAM_CACHE": str(settings.cache),
        "TILLSTREAM_STREAM": settings.stream.model_dump_json(),
    }
    with (
        log.open("wb") as errors,
        subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=errors, env=env) as spark,
    ):
        try:
            with Sampler({**_serving(settings.home), "spark": spark.pid}) as sampler:
                answer, _ = spark.communicate(timeout=_LIMIT_S)
        except subprocess.TimeoutExpired as exc:
            raise _failed(way, f"took more than {_LIMIT_S:.0f} s", log) from exc
        finally:
            if spark.poll() is None:
                _end(spark)
    if spark.returncode:
        raise _failed(way, f"ended with {spark.returncode}", log)
    return json.loads(answer), sampler.usage()


def _end(spark: "subprocess.Popen[bytes]") -> None:
    """SIGTERM lets Python close the pipe by which Java notices that it is alone."""
    spark.terminate()
    try:
        spark.wait(timeout=10)
    except subprocess.TimeoutExpired:
        spark.kill()


def _failed(way: Way, what: str, log: Path) -> ServiceError:
    last = "\n  ".join(process.tail(log, lines=15))
    return ServiceError(f"the drain by {way} {what}. The end of its log:\n  {last}")


def _serving(home: Path) -> dict[str, int]:
    found = {part.value: process.running(part, home=home) for part in (Part.KAFKA, Part.WAREHOUSE)}
    return {name: managed.pid for name, managed in found.items() if managed is not None}
