"""A whole platform under steady load, watched from outside."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tillstream.audit.verify import Parts, verify
from tillstream.bench.commits import LAKE, CommitWatch
from tillstream.bench.dimensions import fill_dimensions
from tillstream.bench.generator import Progress
from tillstream.bench.generators import Generators
from tillstream.bench.pipeline import Wiring
from tillstream.bench.running import StreamFollower, pids
from tillstream.bench.traffic import Traffic
from tillstream.bench.usage import Sampler
from tillstream.bench.week import Phase
from tillstream.contracts.topics import SOURCE_TOPICS
from tillstream.devstack.stack import SERVING, Stack
from tillstream.errors import ServiceError
from tillstream.settings import Settings

# What one generator does without falling behind, events a second.
_OF_ONE_GENERATOR = 10_000
_STALL_S = 180.0
_WAIT_S = 0.1
# How often to ask how far the stream is.
_LOOK_S = 0.5
# Reading the size of a large process stops it for some milliseconds.
_SAMPLE_S = 2.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a measurement under load may ask."""

    settings: Settings
    parts: Parts
    commits: CommitWatch
    sampler: Sampler
    generators: Generators

    def published(self) -> int:
        """Records that Kafka has acknowledged."""
        ends = self.parts.inspector.offset_ranges([topic.value for topic in SOURCE_TOPICS])
        return sum(end for _, end in ends.values())

    def lag(self) -> int:
        """Records in Kafka that are not stored yet."""
        return max(self.published() - self.commits.stored(), 0)

    def wait(self, seconds: float, *, each: Callable[[float], None] = lambda _: None) -> None:
        """Wait, calling `each` with the seconds waited about ten times a second. Raises
        ServiceError when the generators end or the warehouse stops answering."""
        began = time.monotonic()
        while (waited := time.monotonic() - began) < seconds:
            if self.generators.wait(0):
                raise ServiceError("the generators ended too early")
            self.commits.stored()
            each(waited)
            time.sleep(_WAIT_S)

    def warm_up(self, seconds: float, *, each: Callable[[float], None]) -> None:
        """Wait so long after the first batch is stored. Raises ServiceError when there is none."""
        began = time.monotonic()
        while not self.commits.stored():
            self.wait(_WAIT_S)
            if time.monotonic() - began > _STALL_S:
                raise ServiceError(
                    f"the stream stored nothing for {_STALL_S:.0f} s",
                    hint="the machine may be too busy to measure anything: see `uptime`",
                )
        self.wait(seconds, each=each)

    def settle(self) -> Progress:
        """Stop the traffic and wait until all of it is stored; everything that was sent."""
        sent = self.generators.stop()
        self.commits.wait(sent.sent, stall_s=_STALL_S)
        return sent

    def drain(self) -> tuple[Progress, list[str]]:
        """As `settle`, then wait for the lake and verify; also says what is wrong."""
        sent = self.settle()
        self.commits.wait(sent.sent, query=LAKE, stall_s=_STALL_S)
        audit = verify(self.parts)
        return sent, [f.detail for check in audit.checks for f in check.findings[:3]]


@contextmanager
def under_load(
    settings: Settings,
    wiring: Wiring,
    *,
    rate: float,
    probes_per_s: float,
    seed: int = 1,
    prepare: Callable[[Settings], None] = lambda _: None,
    on_phase: Callable[[Phase], None] = lambda _: None,
) -> Iterator[Loaded]:
    """Start everything in `settings.home`, then traffic of `rate` events a second, probes included.
    `prepare` may fill tables before the stream starts. The services stay up."""
    on_phase(Phase("starting"))
    ready = Stack(settings).up(parts=SERVING, provision=wiring.provision)
    fill_dimensions(ready.warehouse)
    prepare(ready)
    on_phase(Phase("starting the stream"))
    Stack(settings).up()
    shares = math.ceil(rate / _OF_ONE_GENERATOR)
    spec: dict[str, Any] = {
        "mode": "paced",
        "traffic": Traffic.FULL,
        "rate": rate / shares,
        "seconds": 1e9,
        "probes_per_s": probes_per_s / shares,
        "seed": seed,
    }
    sampler = Sampler(pids(settings.home, *SERVING), period_s=_SAMPLE_S)
    follow = StreamFollower(sampler, settings.home)
    commits = CommitWatch(ready.warehouse, look_s=_LOOK_S, on_look=follow)
    with (
        wiring.open_parts(ready) as parts,
        sampler,
        commits,
        Generators(settings.home, spec, shares=shares) as generators,
    ):
        yield Loaded(ready, parts, commits, sampler, generators)
