"""The local services together: start in order, watch, stop in reverse.

Every call may be repeated: `up` starts what is not running and leaves the rest alone, so it is also
the way back after a part died.
"""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Literal

import psutil

from tillstream.devstack import process, stack_file
from tillstream.devstack.jars import GROUPS, fetch_jars, jar_cache, locked_jars, missing_jars
from tillstream.devstack.java import find_java
from tillstream.devstack.lock import exclusive
from tillstream.devstack.parts import SERVICES, Part, stream_trouble
from tillstream.devstack.ports import free_port, is_free, require_free
from tillstream.devstack.stack_file import StackFile
from tillstream.errors import ServiceError
from tillstream.settings import Settings

ALL_PARTS: tuple[Part, ...] = tuple(Part)
SERVING: tuple[Part, ...] = (Part.KAFKA, Part.WAREHOUSE)

Phase = Literal["working", "ready", "already", "stopping", "stopped"]
State = Literal["running", "starting", "died", "stopped"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something to show. `step` is a part, or "jars" or "provision"; `fraction` is 0 to 1."""

    step: str
    phase: Phase
    detail: str = ""
    fraction: float | None = None


Report = Callable[[Event], None]
Provision = Callable[[Settings], object]


@dataclass(frozen=True, slots=True)
class PartStatus:
    """One part now. "starting" is alive and not (or no longer) answering; memory is resident, with
    the part's child processes. `trouble` is what keeps the stream from its work."""

    name: str
    state: State
    pid: int | None = None
    endpoint: str = ""
    uptime_s: float | None = None
    memory_mb: int | None = None
    trouble: str = ""


class Stack:
    """The local services of one home."""

    def __init__(self, settings: Settings, *, report: Report | None = None) -> None:
        self._settings = settings
        self._home = settings.home
        self._report: Report = report or (lambda _event: None)

    def up(
        self, *, parts: Collection[Part] = ALL_PARTS, provision: Provision | None = None
    ) -> Settings:
        """Start what is not running and wait until it serves; the settings that reach it.

        `provision` (migrations, topics) runs each time broker and warehouse are up, before the
        stream job starts: it must be idempotent. Raises ServiceError or ConfigError; what had
        started by then stays up.
        """
        stack_file.require_local(self._settings)
        with exclusive(self._home):
            if Part.KAFKA in parts or Part.STREAM in parts:
                find_java()
                self._fetch_jars()
            settings = self._choose_endpoints(parts)
            self._ensure([part for part in SERVING if part in parts], settings)
            if provision is not None and all(self._running(part) for part in SERVING):
                self._report(Event("provision", "working", "tables and topics"))
                provision(settings)
                self._report(Event("provision", "ready", "tables and topics"))
            if Part.STREAM in parts:
                self._ensure([Part.STREAM], settings)
        return settings

    def down(self, *, parts: Collection[Part] = ALL_PARTS) -> list[Part]:
        """Stop the parts in reverse order; those that were running."""
        with exclusive(self._home):
            return [part for part in reversed(ALL_PARTS) if part in parts and self._stop(part)]

    def restart(self, part: Part) -> Settings:
        """Stop one part if it runs, and start it again on the same endpoint."""
        self.down(parts=(part,))
        return self.up(parts=(part,))

    def status(self) -> list[PartStatus]:
        """Every part, in starting order."""
        return [self._status(part) for part in ALL_PARTS]

    def _running(self, part: Part) -> process.Managed | None:
        return process.running(part, home=self._home)

    def _fetch_jars(self) -> None:
        cache = jar_cache(self._settings)
        missing = [jar for group in GROUPS for jar in missing_jars(locked_jars(group), cache=cache)]
        if not missing:
            return
        total, got = sum(jar.size_bytes for jar in missing), 0

        def advance(size: int) -> None:
            nonlocal got
            got += size  # only for display: a lost update between threads does no harm
            detail = f"{got / 1e6:.0f} of {total / 1e6:.0f} MB"
            self._report(Event("jars", "working", detail, min(1.0, got / total)))

        advance(0)
        fetch_jars(missing, cache=cache, maven_url=self._settings.maven_url, progress=advance)
        self._report(Event("jars", "ready", f"{len(missing)} libraries, {total / 1e6:.0f} MB"))

    def _choose_endpoints(self, parts: Collection[Part]) -> Settings:
        """Ports and secrets, remembered from the last time where possible."""
        known = stack_file.recall(self._settings)
        kafka_port = self._port(
            Part.KAFKA, self._settings.kafka.embedded_port, known.kafka_port, avoid=set()
        )
        warehouse_port = self._port(
            Part.WAREHOUSE,
            self._settings.warehouse.embedded_port,
            known.warehouse_port,
            avoid={kafka_port},
        )
        chosen = replace(known, kafka_port=kafka_port, warehouse_port=warehouse_port)
        self._refuse_taken(chosen, parts)
        if chosen != known and self._running(Part.STREAM):
            self._stop(Part.STREAM)  # it reads its endpoints once, at its start
        stack_file.write(self._home, chosen)
        return chosen.settings(self._settings)

    def _port(self, part: Part, configured: int, known: int, *, avoid: set[int]) -> int:
        managed = self._running(part)
        if managed is not None:
            return int(managed.endpoint.rpartition(":")[2])
        if configured:
            return configured
        return known if known and is_free(known) else free_port(avoid=avoid)

    def _refuse_taken(self, chosen: StackFile, parts: Collection[Part]) -> None:
        for part, port, setting in (
            (Part.KAFKA, chosen.kafka_port, "TILLSTREAM_KAFKA__EMBEDDED_PORT"),
            (Part.WAREHOUSE, chosen.warehouse_port, "TILLSTREAM_WAREHOUSE__EMBEDDED_PORT"),
        ):
            if part in parts and not self._running(part):
                require_free(port, part=part, setting=setting)

    def _ensure(self, parts: list[Part], settings: Settings) -> None:
        """Start the parts that are not running, all at once, then wait for each."""
        before = {part: self._running(part) for part in parts}
        began = time.monotonic()
        alive: dict[Part, process.Managed] = {}
        for part, managed in before.items():
            if managed is None:
                self._report(Event(part, "working", "starting"))
            alive[part] = managed or SERVICES[part].start(settings)
        for part, managed in alive.items():
            self._wait(part, managed, settings, started=before[part] is None)
            if before[part] is None:
                detail = " ".join(filter(None, (managed.endpoint, _seconds_since(began))))
                self._report(Event(part, "ready", detail))
            else:
                self._report(Event(part, "already", managed.endpoint))

    def _wait(
        self, part: Part, managed: process.Managed, settings: Settings, *, started: bool
    ) -> None:
        service = SERVICES[part]
        try:
            process.wait_until_healthy(
                lambda: service.healthy(settings, managed),
                managed,
                timeout_s=service.start_timeout_s,
            )
        except ServiceError:
            if started:  # half a part would look "already running" to the next `up`
                process.stop(managed, home=self._home, timeout_s=5.0)
            raise

    def _stop(self, part: Part) -> bool:
        managed = self._running(part)
        if managed is None:
            process.pid_file(self._home, part).unlink(missing_ok=True)
            return False
        self._report(Event(part, "stopping"))
        timeout_s = SERVICES[part].stop_timeout_s
        gentle = process.stop(managed, home=self._home, timeout_s=timeout_s)
        detail = "" if gentle else f"killed: it did not stop within {timeout_s:.0f} s"
        self._report(Event(part, "stopped", detail))
        return True

    def _status(self, part: Part) -> PartStatus:
        managed = self._running(part)
        if managed is None:
            # `down` removes the pid file; one whose process is gone tells of a death.
            died = process.pid_file(self._home, part).exists()
            state: State = "died" if died else "stopped"
            return PartStatus(part, state, trouble=self._trouble(part) if died else "")
        healthy = SERVICES[part].healthy(self._settings, managed)
        try:
            root = psutil.Process(managed.pid)
            memory = sum(_resident(member) for member in (root, *root.children(recursive=True)))
            uptime_s = time.time() - root.create_time()
        except psutil.NoSuchProcess:
            return PartStatus(part, "died")
        return PartStatus(
            part,
            "running" if healthy else "starting",
            pid=managed.pid,
            endpoint=managed.endpoint,
            uptime_s=round(uptime_s, 1),
            memory_mb=memory >> 20,
            trouble=self._trouble(part),
        )

    def _trouble(self, part: Part) -> str:
        return stream_trouble(self._settings) if part is Part.STREAM else ""


def _resident(member: psutil.Process) -> int:
    try:
        return int(member.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0  # a worker that ended meanwhile


def _seconds_since(began: float) -> str:
    return f"in {time.monotonic() - began:.1f} s"
