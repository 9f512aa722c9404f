"""`tillstream watch`: the live view, a Textual application."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Footer, Sparkline, Static

from tillstream.settings import Settings
from tillstream.watching.panels import (
    alerts_table,
    health_table,
    lag_figure,
    latency_figure,
    rate_figure,
    risks_table,
    steps_table,
)
from tillstream.watching.poller import Poller
from tillstream.watching.readings import (
    KafkaReading,
    Reading,
    StreamReading,
    WarehouseReading,
    health,
)
from tillstream.watching.sources import StreamSource, WarehouseSource, read_kafka

_HISTORY = 120
_STREAM_EVERY_S = 1.0
_WAREHOUSE_EVERY_S = 2.0
_KAFKA_EVERY_S = 2.0
_HELP = """\
[b]What you see[/b]

[b]events a second[/b]   stored by the stream, over the last five seconds
[b]arrival to stored[/b] from the broker's clock to the commit in the warehouse
[b]waiting[/b]           records in Kafka that are not stored yet, and when none will wait
[b]shelves at risk[/b]   risk is the chance that a shelf is empty before an order placed now arrives
[b]alerts[/b]            newest first: opened, updated, resolved

✖ a part does not answer   ▲ it works, but something is off   ○ not asked yet

What is shown of a part stays until it answers again; its line in [b]health[/b] tells.

[b]Keys[/b]   q quit   p pause   r ask everybody now   ? this page
"""


@dataclass(frozen=True, slots=True)
class Sources:
    """How each part is read. A call may take seconds, and never raises for a part that is away."""

    kafka: Callable[[], KafkaReading]
    stream: Callable[[], StreamReading]
    warehouse: Callable[[], WarehouseReading]


def sources_of(settings: Settings, metrics_url: str | None = None) -> Sources:
    """The parts that the settings name; the stream at `metrics_url`, or found by its home."""
    return Sources(
        kafka=lambda: read_kafka(settings.kafka),
        stream=StreamSource(settings.home, metrics_url).read,
        warehouse=WarehouseSource(settings.warehouse).read,
    )


class Arrived(Message):
    """A part was read."""

    def __init__(self, reading: Reading) -> None:
        super().__init__()
        self.reading = reading


class HelpScreen(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [("escape,q,question_mark", "dismiss", "back")]

    def compose(self) -> ComposeResult:
        yield Static(_HELP, id="help")


class Tile(Vertical):
    """A figure with its recent past."""

    def __init__(self, title: str, id: str) -> None:
        super().__init__(id=id, classes="panel")
        self.border_title = title
        self._past: deque[float] = deque([0.0] * _HISTORY, maxlen=_HISTORY)
        self._figure = Static("–", classes="figure")
        self._line = Sparkline(list(self._past), summary_function=max)

    def compose(self) -> ComposeResult:
        yield self._figure
        yield self._line

    def show(self, figure: Text, value: float | None) -> None:
        self._figure.update(figure)
        if value is not None:
            self._past.append(value if math.isfinite(value) else 0.0)
            self._line.data = list(self._past)


class WatchApp(App[None]):
    """Shows what `sources` say, each asked on a thread of its own."""

    CSS_PATH = "watch.tcss"
    TITLE = "tillstream"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,ctrl+c", "quit", "quit"),
        Binding("p", "pause", "pause"),
        Binding("r", "refresh", "refresh"),
        Binding("question_mark", "help", "help", key_display="?"),
    ]

    def __init__(self, sources: Sources, *, where: str) -> None:
        super().__init__()
        self.theme = "tokyo-night"
        self._where = where
        self._kafka: KafkaReading | None = None
        self._stream: StreamReading | None = None
        self._warehouse: WarehouseReading | None = None
        self._pollers = [
            self._poller("kafka", sources.kafka, _KAFKA_EVERY_S),
            self._poller("stream", sources.stream, _STREAM_EVERY_S),
            self._poller("warehouse", sources.warehouse, _WAREHOUSE_EVERY_S),
        ]
        self.paused = False
        # Kept, not looked up: a reading may arrive while the screen is being taken down.
        self._head = Static(id="head")
        self._rate = Tile("events a second", id="rate")
        self._latency = Tile("arrival to stored", id="latency")
        self._lag = Tile("waiting in Kafka", id="lag")
        self._health = _panel("health", "health")
        self._steps = _panel("steps", "where a batch's time goes")
        self._risks = _panel("risks", "shelves at risk, by margin at stake")
        self._alerts = _panel("alerts", "newest alerts")

    def _poller(self, name: str, read: Callable[[], Reading], every_s: float) -> Poller:
        def ask() -> None:
            self.post_message(Arrived(read()))

        return Poller(ask, every_s=every_s, name=name)

    def compose(self) -> ComposeResult:
        yield self._head
        yield Horizontal(self._rate, self._latency, self._lag, id="tiles")
        yield Horizontal(self._health, self._steps, id="parts")
        yield Horizontal(self._risks, self._alerts, id="lists")
        yield Footer()

    def on_mount(self) -> None:
        self._show_head()
        self._show_health()
        self.set_interval(1.0, self._show_head)
        for poller in self._pollers:
            poller.start()

    def on_unmount(self) -> None:
        for poller in self._pollers:
            poller.stop()

    def action_pause(self) -> None:
        self.paused = not self.paused
        for poller in self._pollers:
            poller.paused = self.paused
        self._show_head()

    def action_refresh(self) -> None:
        for poller in self._pollers:
            poller.refresh()

    def action_help(self) -> None:
        self.push_screen(HelpScreen())

    def on_arrived(self, message: Arrived) -> None:
        reading = message.reading
        if isinstance(reading, StreamReading):
            self._stream = reading
            self._show_stream(reading)
        elif isinstance(reading, WarehouseReading):
            self._warehouse = reading
            self._show_warehouse(reading)
        else:
            self._kafka = reading
        self._show_health()

    def _show_head(self) -> None:
        head = Text.assemble((" tillstream ", "bold reverse"), "  ", (self._where, "dim"))
        state = ("  PAUSED ", "bold yellow") if self.paused else ("  ● live ", "green")
        clock = datetime.now(UTC).strftime("%H:%M:%S UTC ")
        right = Text.assemble(state, clock)
        space = max(self.size.width - head.cell_len - right.cell_len, 1)
        self._head.update(head + Text(" " * space) + right)

    def _show_stream(self, reading: StreamReading) -> None:
        if reading.problem:
            return
        live = reading.queries.get("live")
        self._rate.show(
            rate_figure(reading.events_per_s, refused_per_s=reading.refused_per_s),
            reading.events_per_s,
        )
        self._latency.show(latency_figure(reading.p50_s, reading.p99_s), reading.p99_s)
        self._lag.show(lag_figure(live), float(live.lag) if live else None)
        self._steps.update(steps_table(reading.steps_s))

    def _show_warehouse(self, reading: WarehouseReading) -> None:
        if reading.problem:
            return  # what was last known stays; its line in health says why
        if self._stream is not None and self._stream.problem:
            figure = rate_figure(reading.events_per_s).append("   by its commits", style="dim")
            self._rate.show(figure, reading.events_per_s)
        self._risks.update(risks_table(reading.risks))
        doubts = (
            f" · {reading.shelves_on_defaults:,} on defaults" if reading.shelves_on_defaults else ""
        )
        self._risks.border_subtitle = f"{reading.risky_shelves:,} at 60 % or more{doubts}"
        self._alerts.update(alerts_table(reading.alerts))
        self._alerts.border_subtitle = f"{reading.open_alerts:,} open"

    def _show_health(self) -> None:
        parts = health(self._kafka, self._warehouse, self._stream)
        self._health.update(health_table(parts))


def _panel(name: str, title: str) -> Static:
    panel = Static(id=name, classes="panel")
    panel.border_title = title
    return panel
