"""The real Kafka broker as a local process: KRaft, one node, loopback only."""

import base64
import os
import socket
import struct
import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tillstream.devstack import process
from tillstream.devstack.ports import LOOPBACK, free_port
from tillstream.devstack.stack_file import write_private
from tillstream.errors import ServiceError

NAME = "kafka"
START_TIMEOUT_S = 60.0

# For a small machine that the broker shares with Spark: against the JVM's defaults, the serial
# collector and one compiler tier take a third off the broker's CPU time for the same records.
JVM_FLAGS = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "-Djava.net.preferIPv4Stack=true",
)

# API key 3 (Metadata), version 1, correlation id 1, no client id, and an array of no topics.
_METADATA_REQUEST = struct.pack(">hhihi", 3, 1, 1, -1, 0)

_LOG4J2 = """\
status = warn
# Kafka logs until its own shutdown hook ends.
shutdownHook = disable
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{yyyy-MM-dd'T'HH:mm:ss.SSS'Z'}{UTC} %-5p %c{1}: %m%n
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
# These print every setting of every client they make.
logger.config.name = org.apache.kafka.common.config.AbstractConfig
logger.config.level = warn
logger.appinfo.name = org.apache.kafka.common.utils.AppInfoParser
logger.appinfo.level = warn
"""


@dataclass(frozen=True, slots=True)
class Broker:
    """One broker: its data, its port and what runs it. Nothing is started by making one.

    `overlay` holds broker settings that are added to the usual ones, or replace them.
    """

    home: Path
    data: Path
    port: int
    java: Path
    classpath: str
    heap_mb: int = 512
    overlay: Mapping[str, Any] = field(default_factory=dict)

    @property
    def bootstrap(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def start(self) -> process.Managed:
        """Format the data folder when it is new and start the broker; does not wait for it."""
        self.data.mkdir(parents=True, exist_ok=True)
        properties = self.data / "server.properties"
        controller_port = free_port(avoid={self.port})
        usual = server_properties(
            port=self.port, controller_port=controller_port, log_dir=self.data / "log"
        )
        # An overlay may hold the password of a key store.
        write_private(properties, as_properties({**usual, **self.overlay}))
        log4j = self.data / "log4j2.properties"
        log4j.write_text(_LOG4J2, encoding="utf-8")
        java = [str(self.java), f"-Xmx{self.heap_mb}m", *JVM_FLAGS]
        java.append(f"-Dlog4j2.configurationFile={log4j.as_uri()}")
        # Not as an argument: forty-six paths would hide the rest of it in a process list.
        env = os.environ | {"CLASSPATH": self.classpath}
        if not (self.data / "log" / "meta.properties").exists():
            self._format(java, properties, env=env)
        return process.start(
            NAME,
            [*java, "kafka.Kafka", str(properties)],
            home=self.home,
            endpoint=self.bootstrap,
            env=env,
        )

    def healthy(self) -> bool:
        """Whether the broker answers and has joined its own cluster."""
        return answers(self.bootstrap)

    def _format(self, java: list[str], properties: Path, *, env: dict[str, str]) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # With an equals sign, because one id in 64 begins with a dash.
        words = ["format", f"--cluster-id={cluster}", "-c", str(properties)]
        done = subprocess.run(
            [*java, "kafka.tools.StorageTool", *words],
            capture_output=True,
            text=True,
            check=False,
            env=env,
        )
        if done.returncode != 0:
            raise ServiceError(
                f"Kafka cannot prepare {self.data}: {(done.stderr or done.stdout).strip()}",
                hint="run: tillstream doctor",
            )


def answers(bootstrap: str) -> bool:
    """Whether a broker answers there and knows itself as part of its cluster.

    One Metadata request by hand: a client library takes longer to load than this to answer, and
    kafka-python leaves sockets open when a broker that is still starting hangs up on it.
    """
    host, _, port = bootstrap.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=2.0) as link:
            link.sendall(struct.pack(">i", len(_METADATA_REQUEST)) + _METADATA_REQUEST)
            with link.makefile("rb") as reply:
                # Response size, correlation id, number of brokers.
                _size, _correlation, brokers = struct.unpack(">iii", reply.read(12))
    except (OSError, struct.error):
        return False
    return bool(brokers > 0)


def server_properties(*, port: int, controller_port: int, log_dir: Path) -> dict[str, Any]:
    """The broker's settings. Internal topics have one partition: fifty of them would have to be
    made, recovered and cleaned for nothing on one node."""
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller_port}",
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": log_dir,
        "auto.create.topics.enable": "false",
        "delete.topic.enable": "true",
        "default.replication.factor": 1,
        "min.insync.replicas": 1,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        "group.initial.rebalance.delay.ms": 0,
        # A broker that was killed may not register again until its old session ends: the default
        # of 9 s would be most of the restart.
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        # Arrival is the broker's append time, for topics somebody makes by hand too.
        "log.message.timestamp.type": "LogAppendTime",
        "log.retention.hours": 168,
        "log.segment.bytes": 256 * 1024 * 1024,
        # The default of 128 MB is a quarter of this broker's heap; one internal topic is compacted.
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
        "log.cleaner.threads": 1,
        "num.network.threads": 2,
        "num.io.threads": 4,
    }


def as_properties(settings: Mapping[str, Any]) -> str:
    return "".join(f"{key}={value}\n" for key, value in settings.items())
