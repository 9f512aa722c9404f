"""The producers: started, killed, and started again where their ledgers say they were."""

import json
import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from tillstream.chaos.events import Event, EventSource
from tillstream.contracts.codec import Codec
from tillstream.devstack import process

_ACKNOWLEDGED = re.compile(rb'^\{"e":"acknowledged","t":"[^"]*","i":"([^"]*)"', re.MULTILINE)
_STOP_S = 90.0


@dataclass(slots=True)
class Fleet:
    """`size` producers that together send `rate` events a second."""

    home: Path
    bootstrap: str
    seed: int
    rate: float
    codec: Codec
    size: int = 2
    epoch_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)
    _starts: int = 0
    _twins: list[process.Managed] = field(default_factory=list)
    _latest: dict[int, tuple[int, Path]] = field(default_factory=dict)

    @property
    def ledgers(self) -> list[Path]:
        return sorted((self.home / "ledgers").glob("*.jsonl"))

    def source(self, producer: int) -> EventSource:
        return EventSource(self.seed, producer, self.epoch_ms, self.rate / self.size, self.codec)

    def running(self, producer: int) -> process.Managed | None:
        return process.running(_name(producer), home=self.home)

    def ensure(self, *, back: int = 0) -> None:
        """Start every producer that does not run, `back` events before its last settled one."""
        for producer in range(self.size):
            if self.running(producer) is None:
                self._start(producer, max(0, self.position(producer) - back))

    def position(self, producer: int) -> int:
        """The first event that is not known to be acknowledged."""
        if producer not in self._latest:
            return 0
        start, ledger = self._latest[producer]
        return resume_at(self.source(producer), start, acknowledged_in(ledger))

    def stop(self, producer: int) -> None:
        """Let it settle what is under way; kill it when that takes too long."""
        managed = self.running(producer)
        if managed is not None:
            process.stop(managed, home=self.home, timeout_s=_STOP_S)

    def stop_all(self) -> None:
        for producer in range(self.size):
            self.stop(producer)

    def kill_all(self) -> None:
        """At once, without a word to Kafka."""
        for managed in [*self._twins, *map(self.running, range(self.size))]:
            if managed is not None:
                process.kill(managed)

    def twin(self, producer: int, *, back: int) -> process.Managed:
        """A second instance of the same producer, `back` events behind it, until it is stopped."""
        at = max(0, self.position(producer) - back)
        twin = self._run(producer, at, name=f"{_name(producer)}-twin", is_latest=False)
        self._twins.append(twin)
        return twin

    def _start(self, producer: int, at: int) -> None:
        self._run(producer, at, name=_name(producer), is_latest=True)

    def _run(self, producer: int, at: int, *, name: str, is_latest: bool) -> process.Managed:
        self._starts += 1
        ledger = self.home / "ledgers" / f"{self._starts:03}-{name}-{at}.jsonl"
        ledger.parent.mkdir(parents=True, exist_ok=True)
        if is_latest:
            self._latest[producer] = (at, ledger)
        source = self.source(producer)
        fields = {name: getattr(source, name) for name in ("seed", "producer", "epoch_ms", "per_s")}
        argv = [sys.executable, "-P", "-m", "tillstream.chaos.producer"]
        argv += ["--bootstrap", self.bootstrap, "--ledger", str(ledger), "--start", str(at)]
        argv += ["--source", json.dumps(fields)]
        return process.start(name, argv, home=self.home)


def acknowledged_in(ledger: Path) -> frozenset[bytes]:
    """The identities that Kafka acknowledged, as far as the file tells."""
    try:
        return frozenset(_ACKNOWLEDGED.findall(ledger.read_bytes()))
    except FileNotFoundError:
        return frozenset()


def resume_at(source: EventSource, start: int, acknowledged: frozenset[bytes]) -> int:
    """Where a producer that began at `start` must go on, so that nothing is left out."""
    number = start
    settled = 0
    while settled < len(acknowledged):
        slot = source.slot(number)
        if isinstance(slot, Event):
            if slot.identity.encode() not in acknowledged:
                break
            settled += 1
        number += 1
    return number


def _name(producer: int) -> str:
    return f"producer-{producer}"
