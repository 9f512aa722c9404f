"""How the platform's parts are, asked every few seconds for everybody who looks."""

import threading
import time
from collections import deque
from dataclasses import dataclass

from tillstream.settings import Settings
from tillstream.watching.readings import (
    Health,
    KafkaReading,
    StreamReading,
    WarehouseReading,
    health,
)
from tillstream.watching.sources import StreamSource, WarehouseSource, read_kafka

_EVERY_S = 3.0
_HISTORY = 200


@dataclass(frozen=True, slots=True)
class Moment:
    """What the parts said at one moment; a part that was not asked yet is None."""

    kafka: KafkaReading | None = None
    stream: StreamReading | None = None
    warehouse: WarehouseReading | None = None

    @property
    def parts(self) -> tuple[Health, ...]:
        return health(self.kafka, self.warehouse, self.stream)


@dataclass(frozen=True, slots=True)
class Sample:
    at_s: float
    events_per_s: float | None
    p99_s: float | None
    lag: int


class Watched:
    """`moment` is the newest look, `samples` the last ten minutes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stream = StreamSource(settings.home)
        self._warehouse = WarehouseSource(settings.warehouse)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watched", daemon=True)
        self.moment = Moment()
        self.samples: deque[Sample] = deque(maxlen=_HISTORY)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=20)
        self._warehouse.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            stream = self._stream.read()
            self.moment = Moment(
                kafka=read_kafka(self._settings.kafka),
                stream=stream,
                warehouse=self._warehouse.read(),
            )
            live = stream.queries.get("live")
            self.samples.append(
                Sample(time.time(), stream.events_per_s, stream.p99_s, live.lag if live else 0)
            )
            self._stop.wait(_EVERY_S)
