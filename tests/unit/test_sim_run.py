"""A share of a run against a broker of lists: ledger, truth, manifest, and how it ends."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from simulators.ledger import Ledger, read_ledgers
from simulators.world.batches import rounds
from simulators.world.messages import Messages, Writer
from simulators.world.preview import messages_of
from simulators.world.run import ShareReport, ShareRun
from simulators.world.scenario import FAULTS, load_scenario
from simulators.world.truth import TABLES, merge_parts, read_faults
from simulators.world.world import World, make_world
from tillstream.contracts.catalogue import load_catalogue
from tillstream.contracts.topics import Topic
from tillstream.errors import ConfigError, ServiceError

Place = tuple[Topic, int]
# So few slots have a wrong clock otherwise that a short run may have none.
STORM = FAULTS["storm"].model_copy(update={"clock_wrong": 0.3})


class Lists:
    """Keeps what is sent; `fail_after` messages it does not answer any more."""

    def __init__(self, fail_after: int = 1 << 60) -> None:
        self.logs: dict[Place, list[tuple[bytes, bytes]]] = {}
        self._left = fail_after

    def partition_of(self, topic: Topic, key: bytes) -> int:
        return int(key[-1]) % 2

    def send(
        self, batches: Mapping[Place, tuple[Sequence[bytes], Sequence[bytes]]]
    ) -> dict[Place, int]:
        first = {}
        for place, (keys, values) in batches.items():
            self._left -= len(values)
            if self._left < 0:
                raise ServiceError("Kafka does not answer")
            log = self.logs.setdefault(place, [])
            first[place] = len(log)
            log.extend(zip(keys, values, strict=True))
        return first


def world_of(*, speed: float | None = None, minutes: float = 720.0) -> World:
    scenario = load_scenario("quiet-tuesday").model_copy(
        update={
            "stores": 6,
            "products": 300,
            "rate": 20.0,
            "minutes": minutes,
            "faults": STORM,
            "speed": speed,
        }
    )
    return make_world(scenario, start_ms=scenario.start_ms(0))


def share(world: World, sender: Lists, folder: Path, ledger: Ledger, **more: object) -> ShareRun:
    writer = Writer(load_catalogue(), world.run_tag, world.start_ms, world.slot_ms, b"key")
    return ShareRun(
        world,
        writer,
        sender,
        share=0,
        shares=1,
        folder=folder,
        ledger=ledger,
        **more,  # type: ignore[arg-type]
    )


def test_ledger_and_manifest_say_what_kafka_has(tmp_path: Path) -> None:
    sender = Lists()
    world = world_of()
    with Ledger.create(tmp_path / "ledger-0.jsonl") as ledger:
        report = share(world, sender, tmp_path, ledger).run()
    merge_parts(tmp_path, 1)
    held = sum(len(log) for log in sender.logs.values())
    assert report.done
    assert report.acknowledged == report.attempted == held == sum(report.by_topic.values()) > 5000
    summary = read_ledgers([tmp_path / "ledger-0.jsonl"])
    assert pc.sum(summary["attempts"]).as_py() == held
    faults = read_faults([tmp_path]).to_pylist()
    refused = [row for row in faults if row["expected"] not in ("counted", "duplicate")]
    assert {"future_timestamp", "ancient_timestamp", "undecodable"} <= {
        row["expected"] for row in refused
    }
    # What the pipeline must refuse is not owed to anybody as stored.
    assert pc.sum(summary["acknowledged"]).as_py() == held - len(refused)
    assert len(faults) == report.faults
    for row in faults:
        key, value = sender.logs[Topic(row["topic"]), row["partition"]][row["offset"]]
        assert key.decode() == row["store_id"]
        if row["kind"] == "empty":
            assert value == b""
        if row["kind"] == "bad_magic":
            assert value[:1] == b"\x7b"


def test_what_is_sent_is_what_the_preview_shows(tmp_path: Path) -> None:
    sender = Lists()
    with Ledger.create(tmp_path / "ledger.jsonl") as ledger:
        share(world_of(), sender, tmp_path, ledger).run()
    by_store: dict[bytes, list[bytes]] = {}
    for messages in messages_of(world_of(), load_catalogue(), b"key"):
        for store, topic, value in zip(messages.store, messages.topic, messages.value, strict=True):
            by_store.setdefault(b"%d S%04d" % (topic, store), []).append(value)
    found: dict[bytes, list[bytes]] = {}
    order = list(Topic)
    for (topic_, _), log in sender.logs.items():
        for key, value in log:
            found.setdefault(b"%d %s" % (order.index(topic_), key), []).append(value)
    assert found == by_store


def test_the_truth_is_whole_and_adds_up(tmp_path: Path) -> None:
    with Ledger.create(tmp_path / "ledger.jsonl") as ledger:
        share(world_of(), Lists(), tmp_path, ledger).run()
    merge_parts(tmp_path, 1)
    tables = {name: pq.read_table(tmp_path / f"{name}.parquet") for name in TABLES}
    demand = tables["demand"]
    wanted, sold = pc.sum(demand["wanted"]).as_py(), pc.sum(demand["sold"]).as_py()
    assert 0 < sold < wanted
    stockouts = tables["stockouts"]
    assert pc.all(pc.less_equal(stockouts["empty_from"], stockouts["empty_until"])).as_py()
    stock = tables["stock"]
    assert pc.min(stock["physical"]).as_py() >= 0
    assert not (tmp_path / "demand.0.parquet").exists()
    # An empty shelf at the end is a stock-out that goes on until then.
    empty = stock.filter(pc.equal(stock["physical"], 0))
    last = pc.max(stockouts["empty_until"]).as_py()
    open_ = stockouts.filter(pc.equal(stockouts["empty_until"], last))
    items = set(zip(open_["store_id"].to_pylist(), open_["product_id"].to_pylist(), strict=True))
    for row in empty.to_pylist():
        assert (row["store_id"], row["product_id"]) in items


def test_a_broker_that_stops_answering_leaves_ledger_and_truth_intact(tmp_path: Path) -> None:
    sender = Lists(fail_after=4000)
    with Ledger.create(tmp_path / "ledger.jsonl") as ledger:
        run = share(world_of(minutes=1440.0), sender, tmp_path, ledger)
        with pytest.raises(ServiceError, match="does not answer"):
            run.run()
    merge_parts(tmp_path, 1)
    summary = read_ledgers([tmp_path / "ledger.jsonl"])
    held = sum(len(log) for log in sender.logs.values())
    refused = sum(
        row["expected"] not in ("counted", "duplicate")
        for row in read_faults([tmp_path]).to_pylist()
    )
    assert pc.sum(summary["acknowledged"]).as_py() <= held - refused
    assert pc.sum(summary["attempts"]).as_py() >= held
    assert pq.read_table(tmp_path / "stock.parquet").num_rows > 0


def test_a_stopped_run_ends_at_once_and_says_so(tmp_path: Path) -> None:
    reports: list[ShareReport] = []
    with Ledger.create(tmp_path / "ledger.jsonl") as ledger:
        report = share(
            world_of(speed=60.0, minutes=1440.0),
            Lists(),
            tmp_path,
            ledger,
            on_report=reports.append,
            stopped=lambda: any(one.acknowledged for one in reports),
        ).run()
    merge_parts(tmp_path, 1)
    assert report.interrupted
    assert report.acknowledged == report.attempted > 0
    assert reports[-1].done
    assert read_ledgers([tmp_path / "ledger.jsonl"]).num_rows > 0


def test_a_paced_run_sends_nothing_before_it_is_due(tmp_path: Path) -> None:
    world = world_of(speed=3600.0, minutes=240.0)
    reports: list[ShareReport] = []
    with Ledger.create(tmp_path / "ledger.jsonl") as ledger:
        report = share(world, Lists(), tmp_path, ledger, on_report=reports.append).run()
    # Four hours at an hour a second.
    assert report.done
    times = [one.event_time_ms for one in reports if one.event_time_ms is not None]
    assert times == sorted(times)
    assert len(times) > 5


def test_no_partition_gets_more_than_a_batch_at_a_time() -> None:
    count = 3000
    zeros = np.zeros(count, dtype=np.int64)
    messages = Messages(
        topic=zeros,
        store=np.arange(count) % 4,
        at_ms=zeros,
        due_ms=zeros,
        fault=zeros,
        identity=np.zeros(count, dtype="S36"),
        value=[b"x" * 1000] * count,
    )
    seen: dict[Place, list[int]] = {}
    for batches in rounds(messages, np.arange(count) % 2):
        for place, rows in batches.items():
            assert len(rows) * 1000 <= 900_000
            seen.setdefault(place, []).extend(rows.tolist())
    assert seen == {
        (Topic.SALES, 0): list(range(0, count, 2)),
        (Topic.SALES, 1): list(range(1, count, 2)),
    }


def test_a_folder_without_a_manifest_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the manifest"):
        read_faults([tmp_path])
