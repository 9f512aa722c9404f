"""Doing one step of the schedule to the running platform, and making it whole again."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

import psutil

from clickhouse.client import connect
from tillstream.chaos import topics
from tillstream.chaos.arena import Arena
from tillstream.chaos.faults import ANSWERS_TO, Action, Target
from tillstream.chaos.fleet import Fleet
from tillstream.chaos.schedule import Step
from tillstream.chaos.witness import Witness
from tillstream.contracts.topics import Topic
from tillstream.devstack import process
from tillstream.devstack.parts import Part
from tillstream.errors import ServiceError

_SENT_S = 120.0
_SLOW_S = 0.3
_LOSS_WAIT_S = 45.0
_POLL_S = 0.1
_BUSY_TOPICS = (Topic.SALES, Topic.INVENTORY)


class NotRun(Exception):
    """The step could not be done here; the message says why. It does not count as covered."""


@dataclass(slots=True)
class Striker:
    """Everything a step may need."""

    arena: Arena
    fleet: Fleet
    witness: Witness
    _windows_shortened: bool = False
    _done: dict[Action, Callable[[Step], str]] = field(init=False)

    def __post_init__(self) -> None:
        self._done = {
            Action.KILL: self._kill,
            Action.FREEZE: self._freeze,
            Action.SLOW: self._slow,
            Action.CUT: self._cut,
            Action.LOSE_ANSWER: self._lose_answer,
            Action.FULL_DISK: self._full_disk,
            Action.DUPLICATE: self._duplicate,
            Action.REPLAY: self._replay,
            Action.RECREATE: self._recreate,
            Action.ADD_PARTITIONS: self._add_partitions,
            Action.LOSE_CHECKPOINT: self._lose_checkpoint,
            Action.CORRUPT_CHECKPOINT: self._corrupt_checkpoint,
            Action.OUTAGE: self._outage,
            Action.RETENTION: self._retention,
            Action.RETENTION_UNREAD: self._retention_unread,
        }

    def strike(self, step: Step) -> str:
        """Do it, hold it, end it; what was done, in words. Raises NotRun."""
        try:
            return self._done[step.pair.action](step)
        finally:
            self.arena.proxies.heal()

    def heal(self) -> None:
        """Start what is down, as a person would: `up`, and the producers."""
        self.arena.up()
        self.fleet.ensure()

    def _pid(self, step: Step) -> int:
        if step.pair.target is Target.PRODUCER:
            return self.arena.managed(f"producer-{self._producer(step)}").pid
        return self.arena.pid(step.pair.target)

    def _producer(self, step: Step) -> int:
        return int(step.dice * self.fleet.size)

    def _kill(self, step: Step) -> str:
        pid = self._pid(step)
        os.kill(pid, signal.SIGKILL)
        time.sleep(step.hold_s)
        return f"kill -9 {pid}"

    def _freeze(self, step: Step) -> str:
        pid = self._pid(step)
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(step.hold_s)
        finally:
            if psutil.pid_exists(pid):
                os.kill(pid, signal.SIGCONT)
        return f"{pid} stood still"

    def _slow(self, step: Step) -> str:
        link = self._link(step.pair.target)
        before = self.arena.proxies[link].carried_bytes
        self.arena.proxies[link].delay_s = _SLOW_S
        time.sleep(step.hold_s)
        carried = self.arena.proxies[link].carried_bytes - before
        return f"{_SLOW_S} s a chunk, {carried:,} bytes got through"

    def _cut(self, step: Step) -> str:
        self.arena.proxies.cut(self._link(step.pair.target))
        time.sleep(step.hold_s)
        return "every connection reset"

    def _lose_answer(self, step: Step) -> str:
        target = step.pair.target
        link = self.arena.proxies[self._link(_link_of(target))]
        before = link.lost
        link.lose = ANSWERS_TO[target]
        time.sleep(step.hold_s)
        deadline = time.monotonic() + _LOSS_WAIT_S
        while link.lost == before and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        if link.lost == before:
            raise NotRun("no such request passed")
        return f"{link.lost - before} answers lost"

    def _full_disk(self, step: Step) -> str:
        disk = self.arena.disks.get(step.pair.target)
        if disk is None:
            raise NotRun(f"no disk of its own: {self.arena.no_disk}")
        disk.fill()
        time.sleep(step.hold_s)
        disk.relieve()
        return f"no room in {disk.folder.name}"

    def _duplicate(self, step: Step) -> str:
        producer = self._producer(step)
        back = self._events_of(2.0)
        twin = self.fleet.twin(producer, back=back)
        time.sleep(step.hold_s)
        process.stop(twin, home=self.arena.home, timeout_s=60.0)
        return f"producer {producer} ran twice, one {back} events behind"

    def _replay(self, step: Step) -> str:
        producer = self._producer(step)
        back = self._events_of(5.0 + 25.0 * step.dice)
        self.fleet.stop(producer)
        self.fleet.ensure(back=back)
        return f"producer {producer} sent {back} events again"

    def _recreate(self, step: Step) -> str:
        topic = _BUSY_TOPICS[int(step.dice * 2)]
        self.fleet.stop_all()
        self.arena.catch_up()
        kept = self.witness.keep(topic)
        topics.delete(self.arena.settings.kafka, topic)
        self.arena.wiring.provision(self.arena.settings)
        self.fleet.ensure(back=self._events_of(2.0))
        return f"{topic} deleted with {kept} records, and created again"

    def _add_partitions(self, step: Step) -> str:
        topic = _BUSY_TOPICS[int(step.dice * 2)]
        count = topics.add_partition(self.arena.settings.kafka, topic)
        # Producers learn of it when they start; what they send again then changes its partition.
        self.fleet.stop_all()
        self.fleet.ensure(back=self._events_of(2.0))
        return f"{topic} has {count} partitions"

    def _lose_checkpoint(self, step: Step) -> str:
        folder = self.arena.home / "spark" / "checkpoints"
        if not folder.is_dir():
            raise NotRun(f"there is no checkpoint in {folder}")
        shutil.rmtree(folder, ignore_errors=True)
        return "deleted while the stream ran"

    def _corrupt_checkpoint(self, step: Step) -> str:
        folder = self.arena.home / "spark" / "checkpoints"
        process.kill(self.arena.managed(Part.STREAM))
        files = [path for path in folder.rglob("*") if path.is_file()]
        if not files:
            raise NotRun(f"there is no checkpoint in {folder}")
        for path in files:
            path.write_bytes(b"\xff" * max(1, path.stat().st_size))
        return f"{len(files)} files overwritten while the stream was down"

    def _outage(self, step: Step) -> str:
        process.kill(self.arena.managed(Part.STREAM))
        tables = self._shorten_windows()
        time.sleep(step.hold_s)
        return f"the stream was away; {tables} tables forget tokens after one more insert"

    def _retention(self, step: Step) -> str:
        topic = _BUSY_TOPICS[int(step.dice * 2)]
        with self.arena.wiring.open_parts(self.arena.settings) as parts:
            below = topics.archived_below(parts, topic)
        self.witness.keep(topic, below=below)
        deleted = topics.delete_below(self.arena.settings.kafka, topic, below)
        if not deleted:
            raise NotRun("nothing was stored and archived yet")
        return f"{deleted} stored records of {topic} deleted"

    def _retention_unread(self, step: Step) -> str:
        """Raises ServiceError when the stream starts all the same."""
        topic = _BUSY_TOPICS[int(step.dice * 2)]
        self.arena.stop_stream()
        before = topics.ends(self.arena.settings.kafka, topic)
        self.fleet.ensure()
        deadline = time.monotonic() + _SENT_S
        while sum(topics.ends(self.arena.settings.kafka, topic).values()) <= sum(before.values()):
            if time.monotonic() > deadline:
                raise ServiceError("the producers sent nothing")
            time.sleep(_POLL_S)
        self.fleet.stop_all()
        topics.delete_below(
            self.arena.settings.kafka, topic, topics.ends(self.arena.settings.kafka, topic)
        )
        try:
            self.arena.up()
        except ServiceError as exc:
            if "retention before they were read" not in str(exc):
                raise
            return "the stream refused to start over records that were deleted unread"
        raise ServiceError("the stream started although unread records were deleted")

    def _events_of(self, seconds: float) -> int:
        return int(self.fleet.rate / self.fleet.size * seconds)

    def _shorten_windows(self) -> int:
        """Let the engine forget insert tokens at once. Returns how many tables had any."""
        with closing(connect(self.arena.settings.warehouse)) as client:
            found = client.query(
                "SELECT name FROM system.tables WHERE database = currentDatabase()"
                " AND create_table_query LIKE '%non_replicated_deduplication_window%'"
            ).result_rows
            if not self._windows_shortened:
                for (table,) in found:
                    client.command(
                        f"ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window=1"
                    )
        self._windows_shortened = True
        return len(found)

    def _link(self, target: Target) -> Target:
        if target not in self.arena.proxies:
            raise NotRun("the lake is a folder, not a server")
        return target


def _link_of(target: Target) -> Target:
    return Target.STREAM_TO_WAREHOUSE if target is Target.COMMIT else target
