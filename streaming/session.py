"""The Spark session, with the settings that matter here and why."""

from collections.abc import Sequence
from pathlib import Path

from pyspark.sql import SparkSession

# A length prefix in a broken record may claim gigabytes; Avro must not try to allocate them.
_MAX_FIELD_BYTES = 1 << 20

_LOG4J = Path(__file__).with_name("log4j2.properties")
_LOG4J_JSON = Path(__file__).with_name("log4j2-json.properties")

_CONF = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.debug.maxToStringFields": "200",
    "spark.sql.session.timeZone": "UTC",
    # Rules compare columns that may overflow or be malformed: they must yield null, not stop.
    "spark.sql.ansi.enabled": "false",
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
    "spark.sql.adaptive.enabled": "false",
    "spark.python.worker.reuse": "true",
}


def java_lives(spark: SparkSession) -> bool:
    """Whether the Java process behind a session runs. A session does not outlive it."""
    process = getattr(spark.sparkContext._gateway, "proc", None)
    return process is None or process.poll() is None


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
) -> SparkSession:
    """A session with Kafka and Avro support. `scratch` holds shuffle files and may be deleted."""
    log4j = (_LOG4J, _LOG4J_JSON) if json_log else (_LOG4J,)
    all_options = " ".join(
        [
            f"-Dorg.apache.avro.limits.string.maxLength={_MAX_FIELD_BYTES}",
            f"-Dorg.apache.avro.limits.bytes.maxLength={_MAX_FIELD_BYTES}",
            f"-Djava.io.tmpdir={scratch}",
            f"-Dlog4j2.configurationFile={','.join(path.as_uri() for path in log4j)}",
            "-Duser.timezone=UTC",
            java_options,
        ]
    )
    scratch.mkdir(parents=True, exist_ok=True)
    builder = (
        SparkSession.builder.master(master)
        .appName(app_name)
        .config("spark.jars", ",".join(str(jar) for jar in jars))
        .config("spark.local.dir", str(scratch))
        .config("spark.sql.warehouse.dir", str(scratch / "warehouse"))
        .config("spark.driver.memory", driver_memory)
        .config("spark.driver.extraJavaOptions", all_options)
        .config("spark.executor.extraJavaOptions", all_options)
        .config("spark.driver.host", "127.0.0.1" if master.startswith("local") else "")
    )
    for key, value in _CONF.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()
