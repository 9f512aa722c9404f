"""What the benchmarks compute from what they see."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer import Exit, Typer
from typer.testing import CliRunner

from streaming.run import log_batch
from streaming.sinks import BatchReport
from tillstream.bench.batches import BatchSteps, mean_steps, parse_batches
from tillstream.bench.machine import parse_cpu_model
from tillstream.bench.sales import (
    WINDOW_MS,
    count_wrong,
    expected_windows,
    make_lines,
    sale_events,
)
from tillstream.bench.scratch import scratch_home, scratch_settings
from tillstream.bench.spread import Spread, spread
from tillstream.bench.usage import Sampler, Usage
from tillstream.bench.ways import Way, Workload, extra_tables, stored_windows
from tillstream.bench.week import Phase, WeekRun
from tillstream.bench.windows import DrainRun, mean_durations
from tillstream.cli import bench
from tillstream.cli.bench_session import measure_runs
from tillstream.cli.bench_view import week_table, windows_tables
from tillstream.contracts.catalogue import load_catalogue
from tillstream.contracts.codec import Codec
from tillstream.contracts.topics import Topic
from tillstream.devstack.stack import Stack
from tillstream.errors import ConfigError
from tillstream.settings import LakeSettings, Settings, load_settings

START_MS = 1_700_000_000_000

WEEK = WeekRun(
    clean=True,
    load_average=0.5,
    events=90_000,
    start_s=20.0,
    start_by_step_s={"kafka": 3.0},
    dimensions_s=1.0,
    first_fact_s=4.0,
    first_alert_s=5.0,
    publish_s=10.0,
    live_s=18.0,
    lake_s=20.0,
    verify_s=2.0,
    batches=4,
    batch_steps_s={"judge": 0.5},
    usage={"kafka": Usage(4.0, 300.0, "PSS")},
)

WRONG_WEEK = replace(WEEK, clean=False, findings=("a row is missing",))

DRAIN = DrainRun(
    workload=Workload.SPREAD,
    way=Way.PARTIALS,
    load_average=0.5,
    events=300_000,
    windows=280_000,
    wrong=0,
    ready_s=5.0,
    first_batch_s=10.0,
    total_s=15.0,
    steady_events=250_000,
    batch_s=(1.0, 1.0),
    spark_ms={"addBatch": 900.0},
    usage={"spark": Usage(20.0, 1_500.0, "PSS")},
)


def test_a_spread_leaves_out_runs_without_the_figure() -> None:
    assert spread([3.0, None, 1.0, 8.0]) == Spread(min=1.0, median=3.0, max=8.0, runs=3)
    assert spread([None]) is None


def test_steps_are_read_from_the_lines_the_stream_logs(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="tillstream.stream"):
        log_batch("live", BatchReport(7, 90, 8, 2, seconds={"judge": 0.25, "facts": 0.125}))
        log_batch("lake", BatchReport(3, 100))
        log_batch("live", BatchReport(8))
    assert parse_batches(caplog.messages) == [BatchSteps(7, 100, {"judge": 0.25, "facts": 0.125})]


def test_a_step_is_averaged_over_the_batches_that_have_it() -> None:
    batches = [BatchSteps(1, 5, {"judge": 1.0, "facts": 4.0}), BatchSteps(2, 5, {"judge": 2.0})]
    assert mean_steps(batches) == {"judge": 1.5, "facts": 4.0}
    assert mean_durations([{"addBatch": 10, "walCommit": 4}, {"addBatch": 20}]) == {
        "addBatch": 15.0,
        "walCommit": 2.0,
    }


def test_rates_of_a_week_count_until_the_slower_of_warehouse_and_lake() -> None:
    told = WEEK.as_dict()
    assert told["events_per_s"] == 4_500
    assert told["live_events_per_s"] == 5_000
    assert told["usage"] == {"kafka": {"cpu_s": 4.0, "peak_mib": 300.0, "memory": "PSS"}}


def test_steady_leaves_out_the_first_batch_and_what_came_before() -> None:
    assert DRAIN.rates() == {
        "correct": True,
        "events_per_s": 20_000,
        "steady_events_per_s": 50_000,
    }
    only_one = replace(DRAIN, steady_events=0, total_s=10.0)
    assert only_one.rates()["steady_events_per_s"] is None


def test_a_run_that_does_not_verify_is_in_no_figure() -> None:
    table = shown(week_table([WEEK, replace(WEEK, clean=False, live_s=1.0)]))
    assert "1 of 2 runs count" in table
    assert "5,000" in table
    assert "90,000" not in table
    assert "0 of 1 runs count" in shown(week_table([replace(WEEK, clean=False)]))


def test_ways_are_compared_with_the_one_in_use() -> None:
    state = replace(DRAIN, way=Way.STATE_MEMORY, total_s=20.0)
    wrong = replace(DRAIN, way=Way.VIEW, wrong=3)
    (table,) = windows_tables([DRAIN, state, wrong])
    cells = [list(column.cells) for column in table.columns]
    assert cells[0] == ["partials", "state-memory", "view"]
    assert cells[1] == ["50,000 (50,000–50,000)", "25,000 (25,000–25,000)", "–"]
    assert cells[2] == ["1.00", "0.50", "–"]
    assert cells[6] == ["0", "0", "3"]


@pytest.mark.parametrize("workload", list(Workload))
def test_expected_windows_are_those_of_the_events_sent(workload: Workload) -> None:
    lines = make_lines(workload, 3_000, start_ms=START_MS)
    sums: dict[tuple[str, str, int], list[int]] = {}
    codec = Codec(load_catalogue())
    for event in sale_events(lines):
        sent = codec.decode(Topic.SALES, codec.encode(Topic.SALES, event)).record
        key = (sent["store_id"], sent["product_id"], sent["timestamp"] // WINDOW_MS * 300)
        units, cents, count = sums.setdefault(key, [0, 0, 0])
        assert sent["line_amount"] == sent["quantity"] * sent["unit_price"]
        sums[key] = [units + sent["quantity"], cents + int(sent["line_amount"] * 100), count + 1]
    expected = expected_windows(lines)
    assert {tuple(row[:3]): list(row[3:]) for row in expected.itertuples(index=False)} == sums
    assert expected["lines"].sum() == 3_000
    assert list(lines.at_ms) == sorted(lines.at_ms)


def test_the_workloads_are_as_hard_on_state_as_they_say() -> None:
    spread_out = expected_windows(make_lines(Workload.SPREAD, 20_000, start_ms=START_MS))
    skewed = expected_windows(make_lines(Workload.SKEWED, 20_000, start_ms=START_MS))
    assert len(spread_out) > 0.99 * 20_000
    assert len(skewed) < 0.95 * 20_000
    assert skewed["lines"].max() > 5


def test_every_kind_of_wrong_window_is_counted() -> None:
    expected = expected_windows(make_lines(Workload.SKEWED, 500, start_ms=START_MS))
    assert count_wrong(expected, expected.copy()) == 0
    missing = expected.drop(index=[0])
    assert count_wrong(expected, missing) == 1
    assert count_wrong(missing, expected) == 1
    for column in ("units", "cents", "lines"):
        other = expected.copy()
        other[column] += np.arange(len(other)) == 3
        assert count_wrong(expected, other) == 1


def test_only_the_ways_with_state_ask_spark_to_keep_any() -> None:
    stateful = [way for way in Way if way.state_store]
    assert stateful == [Way.STATE_MEMORY, Way.STATE_ROCKSDB]
    for way in Way:
        replaced = any("ReplacingMergeTree" in sql for sql in extra_tables(way))
        assert replaced == (way in stateful)
        assert stored_windows(way).endswith(" FINAL" if way in stateful else " velocity_5m")


def test_usage_counts_cpu_and_memory_of_a_process_and_its_child() -> None:
    burn = "import time; a = bytearray(40_000_000)\nwhile time.process_time() < 3: pass"
    child = f"import subprocess, sys, time; subprocess.run([sys.executable, '-c', {burn!r}])"
    root = subprocess.Popen([sys.executable, "-c", f"{child}; input()"], stdin=subprocess.PIPE)
    try:
        with Sampler({"one": root.pid}) as sampler:
            deadline = time.monotonic() + 120
            while sampler.usage()["one"].cpu_s < 0.3 and time.monotonic() < deadline:
                time.sleep(0.05)
    finally:
        root.communicate(b"\n", timeout=120)
    usage = sampler.usage()["one"]
    assert 0.3 <= usage.cpu_s < 5
    assert usage.peak_mib > 38


def test_cpu_time_before_the_measurement_does_not_count() -> None:
    burn = "import time\nwhile time.process_time() < 0.5: pass\nprint(); input()"
    busy = subprocess.Popen(
        [sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert busy.stdout is not None
        busy.stdout.readline()
        with Sampler({"busy": busy.pid}) as sampler:
            pass
    finally:
        busy.communicate(b"\n", timeout=60)
    assert sampler.usage()["busy"].cpu_s < 0.3


def test_the_processor_is_named_from_cpuinfo() -> None:
    assert parse_cpu_model("processor\t: 0\nmodel name\t: AMD EPYC 7B13\nflags\t: a") == (
        "AMD EPYC 7B13"
    )
    assert parse_cpu_model("BogoMIPS : 50.00") is None


def test_a_scratch_home_is_gone_after_an_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt), scratch_home("tillstream-test-") as home:
        (home / "data").write_text("x", encoding="utf-8")
        raise KeyboardInterrupt
    assert not home.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_does_not_end_the_cleaning_up(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = []

    def down(_stack: Stack) -> None:
        os.kill(os.getpid(), number)
        finished.append(True)

    monkeypatch.setattr(Stack, "down", down)
    with pytest.raises(KeyboardInterrupt), scratch_home("tillstream-test-") as home:
        raise KeyboardInterrupt
    assert finished
    assert not home.exists()


def test_a_lake_of_the_users_own_is_not_written_to(tmp_path: Path) -> None:
    base = load_settings(home=tmp_path, lake=LakeSettings(url="s3://shop/lake"))
    with pytest.raises(ConfigError, match="s3://shop/lake"):
        scratch_settings(base, tmp_path / "own", lake_trigger_s=5.0)


def test_a_scratch_home_keeps_the_streams_settings(tmp_path: Path) -> None:
    base = load_settings(home=tmp_path, stream={"max_offsets_per_trigger": 7})
    own = scratch_settings(base, tmp_path / "own", lake_trigger_s=5.0)
    assert (own.stream.max_offsets_per_trigger, own.stream.lake_trigger_s) == (7, 5.0)
    assert own.home == tmp_path / "own"


@pytest.mark.parametrize(("second_counts", "code"), [(True, 0), (False, 5)])
def test_runs_have_homes_of_their_own_and_the_exit_code_says_whether_all_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], second_counts: bool, code: int
) -> None:
    homes: list[Path] = []

    def measure(own: Settings, on_phase: Callable[[Phase], None]) -> WeekRun:
        on_phase(Phase("measuring", 0.5))
        assert own.home.is_dir()
        assert own.stream.lake_trigger_s == 7.0
        homes.append(own.home)
        return WEEK if len(homes) == 1 or second_counts else WRONG_WEEK

    with pytest.raises(Exit) as ended:
        measure_runs(
            load_settings(home=tmp_path),
            measure,
            runs=2,
            table=week_table,
            tell=WeekRun.as_dict,
            as_json=True,
            lake_trigger_s=7.0,
        )
    assert ended.value.exit_code == code
    told = json.loads(capsys.readouterr().out)
    assert [run["clean"] for run in told["runs"]] == [True, second_counts]
    assert told["clean"] is second_counts
    assert told["runs"][0]["events_per_s"] == 4_500
    assert len({tmp_path, *homes}) == 3
    assert not any(home.exists() for home in homes)


def test_people_are_told_what_is_wrong_with_a_run_and_where_it_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(Exit):
        measure_runs(
            load_settings(home=tmp_path / "user"),
            lambda _own, _on_phase: WRONG_WEEK,
            runs=1,
            table=week_table,
            tell=WeekRun.as_dict,
            as_json=False,
            keep=True,
        )
    told = "".join(capsys.readouterr().out.split())  # lines break where a narrow terminal ends
    (kept,) = tmp_path.glob("tillstream-bench-*")
    assert f"run1:{kept}" in told
    assert "run1doesnotcount:arowismissing" in told


def test_help_names_both_measurements() -> None:
    app = Typer()

    @app.callback()
    def _root() -> None: ...

    bench.register(app)
    told = CliRunner().invoke(app, ["bench", "--help"])
    assert told.exit_code == 0
    assert "week" in told.output
    assert "windows" in told.output


def shown(table: object) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table)
    return capture.get()
