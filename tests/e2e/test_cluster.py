"""The stream on a real Spark cluster, with executors that write what they decode."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from kafka import KafkaProducer

from producers.topics import ensure_topics
from tests.contracts_suite.events import sale, update
from tests.fixtures.platform import Platform, new_platform, wait_for
from tests.fixtures.spark_cluster import SPARK_HOME, SparkCluster
from tillstream.cli.rebuild import Source
from tillstream.contracts.catalogue import load_catalogue
from tillstream.contracts.codec import Codec
from tillstream.contracts.topics import Topic
from tillstream.devstack.jars import spark_jars
from tillstream.devstack.java import find_java
from tillstream.devstack.parts import Part
from tillstream.devstack.ports import LOOPBACK
from tillstream.devstack.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

ROOT = Path(__file__).resolve().parents[2]
_CODEC = Codec(load_catalogue())
_STORES = 24
# Half a dozen Java processes live for a minute each: compiling their code well is not worth it.
_SHORT_LIVED = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"


@pytest.fixture(scope="module")
def platform(
    spark_cluster: SparkCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    one = new_platform(
        tmp_path_factory.mktemp("clustered"),
        master=spark_cluster.url,
        sink="executors",
        max_offsets_per_trigger=4_000,
        driver_memory="700m",
        java_options=_SHORT_LIVED,
        spark_conf={"spark.executor.memory": "600m"},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_LOCAL_IP", LOOPBACK)  # the driver's own address, for executors
        try:
            one.up()
            yield one
        finally:
            one.down()


def publish(platform: Platform, first: int, count: int) -> None:
    """Half sales, half stock; every 50th event is sent twice, and every 100th is poison."""
    producer = KafkaProducer(
        bootstrap_servers=platform.settings.kafka.bootstrap, acks="all", linger_ms=20
    )
    now_ms = time.time_ns() // 1_000_000
    for number in range(first, first + count):
        store = str(300 + number % _STORES)
        common = {"store_id": store, "product_id": f"p{number % 37}", "timestamp": now_ms}
        if number % 2:
            topic = Topic.SALES
            record = sale(event_id=f"sale-{number}", quantity=1 + number % 3, **common)
        else:
            topic = Topic.INVENTORY
            record = update(
                inventory_id=f"move-{number}", sequence=number, new_quantity=number % 50, **common
            )
        value = _CODEC.encode(topic, record)
        for _ in range(2 if number % 50 == 0 else 1):
            producer.send(topic.value, value=value, key=store.encode())
        if number % 100 == 1:
            producer.send(topic.value, value=value[:9], key=store.encode())
    producer.flush()
    producer.close()


def totals(platform: Platform) -> dict[str, int]:
    with platform.client() as client:
        rows = client.query(
            "SELECT (SELECT count() FROM fact_sales) + (SELECT count() FROM fact_inventory),"
            " (SELECT count() FROM duplicates), (SELECT count() FROM quarantine)"
        ).result_rows
    return dict(zip(("counted", "duplicates", "refused"), rows[0], strict=True))


def log_of(platform: Platform) -> str:
    return (platform.home / "logs" / "stream.log").read_text(encoding="utf-8")


def test_two_executors_share_the_work_and_each_writes_its_part(
    platform: Platform, spark_cluster: SparkCluster
) -> None:
    publish(platform, 0, 4_000)
    platform.catch_up()
    assert len(spark_cluster.executors()) == 2
    assert totals(platform) == {"counted": 4_000, "duplicates": 80, "refused": 40}
    assert platform.audit().clean


def test_an_executor_killed_at_work_costs_no_event_and_no_double(
    platform: Platform, spark_cluster: SparkCluster
) -> None:
    """It is frozen first, so that its tasks are under way, for certain, when it is killed."""
    victim = spark_cluster.executors()[0]
    os.kill(victim, signal.SIGSTOP)
    publish(platform, 4_000, 6_000)
    wait_for(lambda: _stands_still(platform), timeout_s=60, what="a batch waits for its executor")
    assert totals(platform)["counted"] < 10_000
    os.kill(victim, signal.SIGKILL)
    platform.catch_up()
    assert "live stopped: an executor died" in log_of(platform)
    assert totals(platform) == {"counted": 10_000, "duplicates": 200, "refused": 100}
    audit = platform.audit()
    assert audit.clean, audit.checks
    assert len(spark_cluster.executors()) == 2


def _stands_still(platform: Platform) -> bool:
    before = totals(platform)
    time.sleep(2.0)
    return totals(platform) == before


def test_the_driver_makes_the_same_tables(platform: Platform) -> None:
    """A rebuild gathers every batch on the driver, in this process."""
    local: dict[str, Any] = {"master": "local[2]", "sink": "driver", "spark_conf": {}}
    stream = platform.settings.stream.model_copy(update=local)
    settings = platform.settings.model_copy(update={"stream": stream})
    Platform(settings).rebuild(Source.KAFKA, into="by_the_driver")
    assert platform.digests("by_the_driver") == platform.digests()


def test_spark_submit_runs_the_same_job_where_it_is_told_to_on_more_partitions_too(
    platform: Platform, spark_cluster: SparkCluster, tmp_path: Path
) -> None:
    """Half of the stores change partition; what they send again is known from the former one."""
    Stack(platform.settings).down(parts=(Part.STREAM,))
    more = platform.settings.kafka.model_copy(update={"partition_factor": 2})
    assert any("6 partitions now, 3 before" in line for line in ensure_topics(more))
    wait_for(lambda: not spark_cluster.executors(), timeout_s=30, what="executors end")
    # Were our own settings to win, the job would run inside the driver.
    stream = platform.settings.stream.model_copy(update={"master": "local[1]"})
    env = os.environ | {
        "JAVA_HOME": str(find_java().home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SPARK_LOCAL_IP": LOOPBACK,
        "TILLSTREAM_STREAM": stream.model_dump_json(),
        "TILLSTREAM_CACHE": str(platform.settings.cache),
    }
    command = [
        *(str(SPARK_HOME / "bin" / "spark-submit"), "--master", spark_cluster.url),
        *("--jars", ",".join(str(jar) for jar in spark_jars(platform.settings))),
        *("--total-executor-cores", "1", "--executor-memory", "600m", "--driver-memory", "700m"),
        *("--driver-java-options", _SHORT_LIVED, "--conf", "spark.log.level=WARN"),
        *(str(ROOT / "deploy/spark/submit.py"), "--home", str(platform.home), "stream"),
    ]
    with (tmp_path / "submit.log").open("wb") as log:
        submitted = subprocess.Popen(command, env=env, stdout=log, stderr=log, cwd=tmp_path)
    try:
        publish(platform, 0, 1_000)
        publish(platform, 10_000, 1_000)
        wait_for(
            lambda: totals(platform)["counted"] == 11_000 or submitted.poll() is not None,
            timeout_s=300,
            what="the submitted job stores what was sent",
        )
        assert submitted.poll() is None, (tmp_path / "submit.log").read_text(encoding="utf-8")
        platform.catch_up()
        assert len(spark_cluster.executors()) == 1
        again = 1_000 + 20
        assert totals(platform) == {
            "counted": 11_000,
            "duplicates": 200 + again + 20,
            "refused": 100 + 10 + 10,
        }
        with platform.client() as client:
            assert client.query("SELECT max(partition) FROM fact_sales").result_rows[0][0] > 2
        assert platform.audit().clean
        driver = _driver_of(submitted)
        assert _state(platform)["pid"] == driver.pid
        driver.terminate()
        assert submitted.wait(timeout=90) == 0
        assert _state(platform)["state"] == "stopped"
    finally:
        for process in _family(submitted):
            process.kill()
        submitted.wait()
    wait_for(lambda: not spark_cluster.executors(), timeout_s=30, what="executors end")


def _family(submitted: subprocess.Popen[bytes]) -> list[psutil.Process]:
    if submitted.poll() is not None:
        return []
    return [*psutil.Process(submitted.pid).children(recursive=True), psutil.Process(submitted.pid)]


def _driver_of(submitted: subprocess.Popen[bytes]) -> psutil.Process:
    """The Python process that spark-submit's Java started."""
    return next(one for one in _family(submitted) if "python" in one.name())


def _state(platform: Platform) -> dict[str, Any]:
    text = (platform.home / "run" / "stream.json").read_text(encoding="utf-8")
    return dict(json.loads(text))
