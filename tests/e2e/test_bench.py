"""The benchmarks measure a whole platform of their own, and leave nothing behind."""

import json
from pathlib import Path

import pytest

from tillstream.bench.latency import measure_latency
from tillstream.bench.pipeline import measure_drain
from tillstream.bench.probes import Kind
from tillstream.bench.running import pids
from tillstream.bench.scratch import scratch_home, scratch_settings
from tillstream.bench.traffic import Traffic
from tillstream.cli.bench_session import wiring
from tillstream.settings import load_settings

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

SMALL = {"driver_memory": "1500m", "lake_trigger_s": 3.0}


def test_a_drain_of_full_traffic_is_measured_and_verified(tmp_path: Path) -> None:
    with scratch_home("tillstream-test-") as home:
        own = scratch_settings(
            load_settings(home=tmp_path), home, max_offsets_per_trigger=6_000, **SMALL
        )
        run = measure_drain(own, wiring(), traffic=Traffic.FULL, events=20_000, warmup_batches=1)
        assert set(pids(home)) == {"kafka", "warehouse", "stream"}
    assert run.findings == ()
    assert run.clean
    assert 19_990 <= run.events <= 20_000
    assert run.lake_s is not None
    assert run.risk_s is not None
    assert 0 < run.first_commit_s < run.live_s
    assert 10_000 <= run.steady_events < run.events
    assert {"decode", "judge", "facts"} <= set(run.step_s)
    assert all(used.cpu_s > 0 and used.peak_mib > 50 for used in run.usage.values())
    assert set(run.usage) == {"kafka", "warehouse", "stream"}
    assert not home.exists()


def test_every_probe_is_seen_under_load(tmp_path: Path) -> None:
    series = tmp_path / "series.jsonl"
    with scratch_home("tillstream-test-") as home:
        run = measure_latency(
            scratch_settings(load_settings(home=tmp_path), home, **SMALL),
            wiring(),
            rate=200,
            seconds=26,
            warmup_s=5,
            series=series,
        )
    assert run.findings == ()
    assert run.rate == pytest.approx(200, rel=0.2)
    assert set(run.latency_ms) == {kind.value for kind in Kind}
    assert run.latency_ms["fact"].p50 <= run.latency_ms["alert"].p50
    assert run.probes > 200
    (line,) = (json.loads(one) for one in series.read_text(encoding="utf-8").splitlines())
    assert set(line["mib"]) == {"kafka", "warehouse", "stream"}
    assert line["p99_ms"]["fact"] <= run.latency_ms["fact"].max
