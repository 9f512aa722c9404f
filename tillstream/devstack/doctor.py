"""What this machine needs to run the platform, checked one thing at a time."""

import os
import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from tillstream.devstack import process, stack_file
from tillstream.devstack.jars import GROUPS, corrupt_jars, jar_cache, locked_jars, missing_jars
from tillstream.devstack.java import find_java
from tillstream.devstack.parts import Part
from tillstream.devstack.ports import holder, is_free
from tillstream.errors import TillstreamError
from tillstream.settings import Settings

Level = Literal["ok", "warn", "fail"]

# A replayed week with its lake and warehouse takes well under one; the rest is for Kafka's log.
_DISK_WARN_GB, _DISK_FAIL_GB = 10, 2
# Broker 0.5, Spark driver 2 with its Python workers, warehouse 0.5.
_MEMORY_WARN_GB, _MEMORY_FAIL_GB = 6, 3


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `advice` is what to do, empty when all is well."""

    name: str
    level: Level
    detail: str
    advice: str = ""


def run(settings: Settings) -> list[Check]:
    """Every check, in the order they are shown. Never raises for a finding."""
    checks: tuple[Callable[[Settings], Check], ...] = (
        check_python,
        check_java,
        check_memory,
        check_home,
        check_disk,
        check_jars,
        check_ports,
        check_docker,
    )
    return [check(settings) for check in checks]


def check_python(_settings: Settings) -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info < (3, 14):
        return Check("python", "ok", version)
    return Check("python", "fail", version, "use Python 3.11, 3.12 or 3.13")


def check_java(_settings: Settings) -> Check:
    try:
        java = find_java()
    except TillstreamError as exc:
        return Check("java", "fail", str(exc), exc.hint or "")
    detail = f"{java.major} ({java.executable})"
    if java.warning:
        return Check("java", "warn", detail, f"{java.warning}: set JAVA_HOME to one of those")
    return Check("java", "ok", detail)


def check_memory(_settings: Settings) -> Check:
    memory = psutil.virtual_memory()
    free, total = memory.available / 2**30, memory.total / 2**30
    detail = f"{free:.1f} GiB available of {total:.1f}"
    level = _level(free, warn=_MEMORY_WARN_GB, fail=_MEMORY_FAIL_GB)
    advice = "close other programs, or lower TILLSTREAM_STREAM__DRIVER_MEMORY"
    return Check("memory", level, detail, "" if level == "ok" else advice)


def check_home(settings: Settings) -> Check:
    folder = _existing(settings.home)
    if os.access(folder, os.W_OK | os.X_OK) and folder.is_dir():
        return Check("home", "ok", f"{settings.home} is writable")
    return Check(
        "home", "fail", f"{settings.home} cannot be written", "choose another: --home FOLDER"
    )


def check_disk(settings: Settings) -> Check:
    free = shutil.disk_usage(_existing(settings.home)).free / 2**30
    level = _level(free, warn=_DISK_WARN_GB, fail=_DISK_FAIL_GB)
    advice = "free some space, or choose another disk: --home FOLDER"
    return Check("disk", level, f"{free:.0f} GiB free", "" if level == "ok" else advice)


def check_jars(settings: Settings) -> Check:
    """Hashes the whole cache again."""
    cache = jar_cache(settings)
    jars = [jar for group in GROUPS for jar in locked_jars(group)]
    corrupt = corrupt_jars(jars, cache=cache)
    if corrupt:
        names = ", ".join(jar.name for jar in corrupt)
        # By name: one of the right size would not be fetched again by itself.
        files = " ".join(str(cache / jar.path) for jar in corrupt)
        advice = f"stop the services and remove them, the next up fetches them: rm {files}"
        return Check("jars", "fail", f"not the locked content: {names}", advice)
    missing = missing_jars(jars, cache=cache)
    if missing:
        size = sum(jar.size_bytes for jar in missing) / 1e6
        detail = f"{len(missing)} of {len(jars)} not fetched yet ({size:.0f} MB)"
        return Check("jars", "warn", detail, f"the next up fetches them from {settings.maven_url}")
    return Check("jars", "ok", f"{len(jars)} libraries match the lock, in {cache}")


def check_ports(settings: Settings) -> Check:
    """Whether each local service runs, or could listen on its port."""
    try:
        known = stack_file.read(settings.home)
    except TillstreamError as exc:
        return Check("ports", "fail", str(exc), exc.hint or "")
    taken, states = [], []
    for part, configured, remembered in (
        (Part.KAFKA, settings.kafka.embedded_port, known.kafka_port if known else 0),
        (Part.WAREHOUSE, settings.warehouse.embedded_port, known.warehouse_port if known else 0),
    ):
        port = configured or remembered
        if process.running(part, home=settings.home):
            states.append(f"{part} runs")
        elif not port:
            states.append(f"{part}: chosen at start")
        elif is_free(port):
            states.append(f"{part} {port} is free")
        else:
            taken.append((f"{part} {port} is taken by {holder(port)}", configured))
    detail = ", ".join([*states, *(words for words, _ in taken)])
    if any(configured for _, configured in taken):
        return Check("ports", "fail", detail, "stop that process, or set the embedded_port to 0")
    if taken:
        return Check("ports", "warn", detail, "nothing: the next up chooses another")
    return Check("ports", "ok", detail)


def check_docker(_settings: Settings) -> Check:
    import docker  # here, because it is slow to load and every command loads this module
    import docker.errors

    absent = Check("docker", "ok", "no engine (only `up --docker` needs one)")
    # The SDK leaves its socket open when nobody listens.
    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if address.startswith("unix://") and not _listens(address.removeprefix("unix://")):
        return absent
    try:
        client = docker.from_env(timeout=3)
    except docker.errors.DockerException:
        return absent
    try:
        return Check("docker", "ok", f"engine {client.version().get('Version', '')}")
    except (docker.errors.DockerException, OSError):
        return absent
    finally:
        client.close()


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(3.0)
        try:
            link.connect(path)
        except OSError:
            return False
        return True


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _level(value: float, *, warn: float, fail: float) -> Level:
    if value < fail:
        return "fail"
    return "warn" if value < warn else "ok"
