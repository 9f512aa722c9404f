"""The Spark session, with the settings that matter here and why."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JError
from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession

# A length prefix in a broken record may claim gigabytes; Avro must not try to allocate them.
_MAX_FIELD_BYTES = 1 << 20

_LOG4J = Path(__file__).with_name("log4j2.properties")
_LOG4J_JSON = Path(__file__).with_name("log4j2-json.properties")

_AVRO_LIMITS = {
    f"org.apache.avro.limits.{kind}.maxLength": str(_MAX_FIELD_BYTES)
    for kind in ("string", "bytes")
}

# Results depend on these: nobody's choice but ours.
_NEEDED = {
    "spark.sql.session.timeZone": "UTC",
    # Rules compare columns that may overflow or be malformed: they must yield null, not stop.
    "spark.sql.ansi.enabled": "false",
    # One task a Kafka partition, and one try of it at a time.
    "spark.sql.adaptive.enabled": "false",
    "spark.speculation": "false",
}

_CONF = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.debug.maxToStringFields": "200",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "200000",
    "spark.sql.shuffle.partitions": "2",
    "spark.scheduler.mode": "FAIR",
    # The warehouse knows how far the stream has got; Spark's own log is scratch, so it may be
    # written the quickest way (99 -> 18 ms a batch).
    "spark.sql.streaming.checkpointFileManagerClass": (
        "org.apache.spark.sql.execution.streaming.FileSystemBasedCheckpointFileManager"
    ),
    "spark.sql.streaming.minBatchesToRetain": "2",
    "spark.sql.streaming.noDataMicroBatches.enabled": "false",
    "spark.sql.streaming.metricsEnabled": "false",
    "spark.python.worker.reuse": "true",
}


def java_lives(spark: SparkSession) -> bool:
    """Whether the Java process behind a session runs. A session does not outlive it."""
    process = getattr(spark.sparkContext._gateway, "proc", None)
    if process is not None:
        return bool(process.poll() is None)
    jvm: Any = spark._jvm  # started by spark-submit, which then started us
    try:
        jvm.java.lang.System.nanoTime()
    except (Py4JError, OSError):
        return False
    return True


def stop_session(spark: SparkSession) -> None:
    """Stop a session; nothing is left to stop when its Java process died."""
    if java_lives(spark):
        spark.stop()


def spark_session(
    *,
    master: str,
    jars: Sequence[Path],
    scratch: Path,
    driver_memory: str,
    app_name: str,
    java_options: str = "",
    json_log: bool = False,
    spark_conf: Mapping[str, str] | None = None,
) -> SparkSession:
    """A session with Kafka and Avro support. `scratch` holds shuffle files and may be deleted.

    `spark_conf` adds to our settings or replaces them. Under spark-submit, what that was given
    counts too, above all master and jars: Java runs already, so `jars`, `driver_memory` and the
    options of the driver's Java are for whoever calls spark-submit to give.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    # What executors run: this environment's Python, at the same path on every machine.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    submitted = _submitted()
    asked = {**(submitted or {}), **(spark_conf or {})}
    common = f"{_java_limits()} -Duser.timezone=UTC {java_options}".strip()
    conf = {
        **_CONF,
        "spark.app.name": app_name,
        "spark.master": master,
        "spark.local.dir": str(scratch),
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
    }
    if submitted is None:
        log4j = (_LOG4J, _LOG4J_JSON) if json_log else (_LOG4J,)
        conf["spark.driver.memory"] = driver_memory
        conf["spark.driver.extraJavaOptions"] = (
            f"{common} -Djava.io.tmpdir={scratch}"
            f" -Dlog4j2.configurationFile={','.join(path.as_uri() for path in log4j)}"
        )
        conf |= _of_one_process(jars) if master.startswith("local") else _of_a_cluster(jars)
    conf |= asked | _NEEDED
    given = asked.get("spark.executor.extraJavaOptions", "")
    conf["spark.executor.extraJavaOptions"] = f"{common} {given}".strip()
    builder = SparkSession.builder
    for key, value in conf.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    if submitted is not None:
        jvm: Any = session._jvm
        for name, limit in _AVRO_LIMITS.items():
            jvm.java.lang.System.setProperty(name, limit)
    return session


def _java_limits() -> str:
    return " ".join(f"-D{name}={limit}" for name, limit in _AVRO_LIMITS.items())


def _submitted() -> dict[str, str] | None:
    """What spark-submit was given; None when this process starts Java itself."""
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        return None
    SparkContext._ensure_initialized()
    return dict(SparkConf().getAll())


def _of_one_process(jars: Sequence[Path]) -> dict[str, str]:
    return {
        "spark.driver.extraClassPath": ":".join(str(jar) for jar in jars),
        "spark.driver.host": "127.0.0.1",
        # Hadoop's own local file system starts `chmod` for each of the small files of each batch.
        "spark.hadoop.fs.file.impl": "com.globalmentor.apache.hadoop.fs.BareLocalFileSystem",
    }


def _of_a_cluster(jars: Sequence[Path]) -> dict[str, str]:
    return {"spark.jars": ",".join(str(jar) for jar in jars)}
