"""What figures depend on and must be shown with: the machine, the versions, the day."""

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from tillstream.devstack.jars import locked_jars
from tillstream.devstack.java import find_java

_PACKAGES = ("pyspark", "chdb", "clickhouse-connect", "kafka-python", "pyarrow", "fastavro")
_BROKER_JAR = "kafka_2.13-"


@dataclass(frozen=True, slots=True)
class Machine:
    """`cores` are those this process may use; `date` is a UTC day."""

    date: str
    cpu: str
    cores: int
    memory_gib: float
    system: str
    versions: dict[str, str]

    def lines(self) -> tuple[str, str]:
        """Two lines for people: the machine, then the versions."""
        return (
            f"{self.date} · {self.cpu} · {self.cores} cores · {self.memory_gib:.0f} GiB · "
            f"{self.system}",
            " · ".join(f"{name} {number}" for name, number in self.versions.items()),
        )


def describe_machine() -> Machine:
    """Raises ServiceError when there is no Java to name."""
    return Machine(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        cpu=_cpu_model(),
        cores=_usable_cores(),
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        system=f"{platform.system()} {platform.release()}",
        versions={
            "python": platform.python_version(),
            "java": str(find_java().major),
            "kafka": _broker_version(),
            **{name: version(name) for name in _PACKAGES},
        },
    )


def load_average() -> float:
    """Processes that ran or waited to run, on average over the last minute: what the machine was
    doing besides. Near 0 is a quiet machine; above the number of cores it is overbooked."""
    return round(os.getloadavg()[0], 2)


def parse_cpu_model(cpuinfo: str) -> str | None:
    """The first processor's name in the text of /proc/cpuinfo."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return None


def _cpu_model() -> str:
    try:
        found = parse_cpu_model(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        found = None  # not Linux
    return found or platform.processor() or platform.machine()


def _usable_cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1  # macOS knows no affinity


def _broker_version() -> str:
    names = [jar.name for jar in locked_jars("kafka") if jar.name.startswith(_BROKER_JAR)]
    return names[0].removeprefix(_BROKER_JAR).removesuffix(".jar") if names else "unknown"
