"""Traces of batches, as a collector receives them."""

import subprocess
import sys
import time
from dataclasses import dataclass

from opentelemetry.proto.trace.v1.trace_pb2 import Status

from tests.fixtures.collector import collector
from tests.fixtures.warehouse import free_port
from tillstream.telemetry.batch import BatchSeen
from tillstream.telemetry.traces import BatchTraces, batch_traces


@dataclass(frozen=True, slots=True)
class Range:
    topic: str
    partition: int
    first: int
    last: int


BATCH = BatchSeen(
    query="live",
    batch_id=12,
    ended_at_s=1_700_000_000.5,
    total_s=0.5,
    ranges=(Range("sales", 0, 100, 149), Range("sales", 1, 7, 9)),
    outcomes={("sales", "counted"): 50, ("sales", "refused"): 3},
    seconds={"judge": 0.1, "facts": 0.3, "commit": 0.1},
)


def test_a_batch_is_a_span_with_one_below_it_for_each_step() -> None:
    with collector() as got:
        traces = batch_traces(f"http://127.0.0.1:{got.port}")
        assert traces is not None
        traces.batch(BATCH)
        traces.close()
    assert got.services == {"tillstream-stream"}
    root = next(span for span in got.spans if span.name == "live batch")
    steps = {span.name: span for span in got.spans if span.parent_span_id == root.span_id}
    attributes = {one.key: one.value for one in root.attributes}
    offsets = [one.string_value for one in attributes["tillstream.offsets"].array_value.values]
    assert offsets == ["sales-0:100-149", "sales-1:7-9"]
    assert attributes["tillstream.batch_id"].int_value == 12
    assert attributes["tillstream.correlation"].string_value == "live-12"
    assert attributes["tillstream.records"].int_value == 53

    assert root.start_time_unix_nano == 1_700_000_000_000_000_000
    assert root.end_time_unix_nano == 1_700_000_000_500_000_000
    assert list(steps) == ["judge", "facts", "commit"]
    assert steps["judge"].start_time_unix_nano == root.start_time_unix_nano
    assert steps["facts"].start_time_unix_nano == steps["judge"].end_time_unix_nano
    assert steps["facts"].end_time_unix_nano - steps["facts"].start_time_unix_nano == 300_000_000
    assert {span.trace_id for span in got.spans} == {root.trace_id}


def test_a_failure_is_a_span_that_says_why() -> None:
    with collector() as got:
        traces = BatchTraces(f"http://127.0.0.1:{got.port}/v1/traces")
        traces.failure("lake", "the bucket is gone")
        traces.close()
    (span,) = got.spans
    assert span.name == "lake failure"
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert span.status.message == "the bucket is gone"


def test_a_collector_that_is_away_delays_nobody() -> None:
    traces = BatchTraces(f"http://127.0.0.1:{free_port()}")
    for _ in range(100):
        traces.batch(BATCH)
    began = time.monotonic()
    traces.close()
    assert time.monotonic() - began < 30


def test_without_an_endpoint_the_library_is_not_even_loaded() -> None:
    code = (
        "import sys; from tillstream.telemetry.traces import batch_traces;"
        "assert batch_traces(None) is None;"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
