"""The platform under fire: every part in a home of its own, proxies between them, by settings."""

import json
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import psutil
from pydantic import SecretStr

from tillstream.audit.verify import Parts, Progress, progress, wait_until_caught_up
from tillstream.chaos.disk import Disk
from tillstream.chaos.faults import DISKS, Target
from tillstream.chaos.lake_server import LakeServer
from tillstream.chaos.proxy import Proxies
from tillstream.devstack import process
from tillstream.devstack.parts import Part
from tillstream.devstack.ports import LOOPBACK, free_port
from tillstream.devstack.stack import Stack
from tillstream.devstack.stack_file import write_private
from tillstream.errors import ConfigError, ServiceError
from tillstream.settings import USER_FILE, LakeSettings, Settings, StreamSettings, load_settings

_LAKE_TRIGGER_S = 5.0
_DRIVER_MEMORY = "1500m"
_STUCK_S = 240.0
_LAKE_URL = "s3://chaos/archive"


@dataclass(frozen=True, slots=True)
class Wiring:
    """What the command line knows and this layer may not import."""

    provision: Callable[[Settings], object]
    open_parts: Callable[[Settings], AbstractContextManager[Parts]]


@dataclass(slots=True)
class Arena:
    """`settings` reach every part directly; the stream and the producers go through `proxies`."""

    settings: Settings
    wiring: Wiring
    proxies: Proxies
    lake: LakeServer | None
    disks: dict[Target, Disk] = field(default_factory=dict)
    no_disk: str = ""
    # Whether somebody wants to look at what is left.
    is_kept: bool = False
    _control: Settings | None = None

    @property
    def home(self) -> Path:
        return self.settings.home

    @property
    def producer_bootstrap(self) -> str:
        return f"{LOOPBACK}:{self.proxies[Target.PRODUCER_TO_KAFKA].port}"

    def up(self, parts: Collection[Part] = tuple(Part)) -> None:
        """Start what is not running, as a person would, and wait until it serves."""
        if self.lake is not None:
            self.lake.ensure()
        control = self._control or self.settings
        self._control = control
        self.settings = Stack(control).up(parts=parts, provision=self.wiring.provision)

    def down(self) -> None:
        Stack(self._control or self.settings).down()
        if self.lake is not None:
            self.lake.stop()

    def stop_stream(self) -> None:
        Stack(self._control or self.settings).down(parts=(Part.STREAM,))

    def catch_up(self, on_progress: Callable[[Progress], None] = lambda _: None) -> None:
        """Wait until all that Kafka holds is stored and archived, however slow the machine. Raises
        ServiceError when nothing has moved for a while."""
        left = float("inf")
        with self.wiring.open_parts(self.settings) as parts:
            while True:
                try:
                    wait_until_caught_up(parts, timeout_s=_STUCK_S, on_progress=on_progress)
                except ServiceError:
                    now = progress(parts)
                    before, left = left, now.behind + now.lake_behind
                    if left >= before:
                        raise
                else:
                    return

    def unmount(self, disk: Disk) -> None:
        """Take a disk away; what is on it stays in its folder when the home is kept."""
        with suppress(ServiceError):
            disk.unmount(keep=self.is_kept)

    def managed(self, part: str) -> process.Managed:
        """Raises ServiceError when it does not run."""
        found = process.running(part, home=self.home)
        if found is None:
            raise ServiceError(f"{part} is not running")
        return found

    def pid(self, target: Target) -> int:
        """The process behind a target. Raises ServiceError when there is none."""
        names = {
            Target.DRIVER: Part.STREAM,
            Target.BROKER: Part.KAFKA,
            Target.WAREHOUSE: Part.WAREHOUSE,
            Target.LAKE: "lake",
        }
        if target is not Target.EXECUTOR:
            return self.managed(names[target]).pid
        driver = psutil.Process(self.managed(Part.STREAM).pid)
        for child in driver.children(recursive=True):
            if "java" in child.name():
                return child.pid
        raise ServiceError("the driver has no JVM")


@contextmanager
def arena(
    base: Settings,
    home: Path,
    wiring: Wiring,
    *,
    minio: Path | None,
    deduplicate: bool,
    disks: Collection[Target],
) -> Iterator[Arena]:
    """Everything ready to be started in `home`; at the end it is stopped and unmounted."""
    with ExitStack() as stack:
        proxies = stack.enter_context(Proxies())
        ports = _free_ports()
        lake = None
        if minio is not None:
            lake = LakeServer(home, home / DISKS[Target.LAKE], minio, next(ports))
        control, warehouse_port = _control_settings(base, home, proxies, lake, deduplicate, ports)
        found = Arena(control, wiring, proxies, lake)
        proxies.open(Target.STREAM_TO_WAREHOUSE, port=next(ports), upstream=warehouse_port)
        if lake is not None:
            proxies.open(Target.STREAM_TO_LAKE, port=next(ports), upstream=lake.port)
        try:
            for target in disks:
                found.disks[target] = Disk.mount(home / DISKS[target])
                stack.callback(found.unmount, found.disks[target])
        except ServiceError as exc:
            found.no_disk = str(exc)
        write_private(home / USER_FILE, _stream_settings(proxies, lake))
        stack.callback(found.down)
        yield found


def _free_ports() -> Iterator[int]:
    """No two alike: they are chosen long before somebody listens on them."""
    chosen: set[int] = set()
    while True:
        chosen.add(port := free_port(avoid=chosen))
        yield port


def _control_settings(
    base: Settings,
    home: Path,
    proxies: Proxies,
    lake: LakeServer | None,
    deduplicate: bool,
    ports: Iterator[int],
) -> tuple[Settings, int]:
    """Settings that reach every part directly, made before the home has a file of its own."""
    if base.lake.url is not None:
        raise ConfigError(
            f"chaos writes to a lake of its own, but the lake is set to {base.lake.url}",
            hint="unset TILLSTREAM_LAKE__URL for it",
        )
    broker, controller, for_stream, for_producers, warehouse = islice(ports, 5)
    front_stream, front_producers = islice(ports, 2)
    proxies.open(Target.STREAM_TO_KAFKA, port=front_stream, upstream=for_stream)
    proxies.open(Target.PRODUCER_TO_KAFKA, port=front_producers, upstream=for_producers)
    # A listener for each proxy: a client comes back to the address that its listener advertises.
    listening = {"PLAINTEXT": broker, "STREAM": for_stream, "PRODUCER": for_producers}
    advertised = listening | {"STREAM": front_stream, "PRODUCER": front_producers}
    overlay = {
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller}",
        "listeners": _listeners(listening | {"CONTROLLER": controller}),
        "advertised.listeners": _listeners(advertised),
        "listener.security.protocol.map": ",".join(
            f"{name}:PLAINTEXT" for name in (*listening, "CONTROLLER")
        ),
    }
    stream = StreamSettings(
        **{
            **base.stream.model_dump(),
            "lake_trigger_s": _LAKE_TRIGGER_S,
            "driver_memory": _DRIVER_MEMORY,
            "deduplicate": deduplicate,
        }
    )
    lake_settings = LakeSettings()
    if lake is not None:
        lake_settings = LakeSettings(
            url=_LAKE_URL,
            endpoint=f"http://{LOOPBACK}:{lake.port}",
            access_key=lake.access_key,
            secret_key=SecretStr(lake.secret_key),
        )
    kafka = base.kafka.model_copy(update={"embedded_port": broker, "embedded_properties": overlay})
    settings = load_settings(home=home, cache=base.cache, stream=stream)
    return (
        settings.model_copy(
            update={
                "kafka": kafka,
                "lake": lake_settings,
                "warehouse": settings.warehouse.model_copy(update={"embedded_port": warehouse}),
            }
        ),
        warehouse,
    )


def _listeners(ports: dict[str, int]) -> str:
    return ",".join(f"{name}://{LOOPBACK}:{port}" for name, port in ports.items())


def _stream_settings(proxies: Proxies, lake: LakeServer | None) -> str:
    """The home's settings file: what the stream reads, and nobody else here."""
    quoted = json.dumps
    lines = [
        "[kafka]",
        f"bootstrap = {quoted(f'{LOOPBACK}:{proxies[Target.STREAM_TO_KAFKA].port}')}",
        "[warehouse]",
        f"host = {quoted(LOOPBACK)}",
        f"port = {proxies[Target.STREAM_TO_WAREHOUSE].port}",
    ]
    if lake is not None:
        lines += [
            "[lake]",
            f"url = {quoted(_LAKE_URL)}",
            f'endpoint = "http://{LOOPBACK}:{proxies[Target.STREAM_TO_LAKE].port}"',
            f"access_key = {quoted(lake.access_key)}",
            f"secret_key = {quoted(lake.secret_key)}",
        ]
    return "\n".join(lines) + "\n"
