"""CPU and memory of running services, with all their child processes."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Self

import psutil

# PSS shares out pages that several processes map; RSS counts them in each.
MemoryKind = Literal["PSS", "RSS"]

_PERIOD_S = 0.5
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds (user and system) over the measured time, and the largest memory seen in it."""

    cpu_s: float
    peak_mib: float
    memory: MemoryKind


@dataclass(slots=True)
class _Tree:
    """One service: the CPU time of each process of its tree, the newest figure by pid."""

    root: int
    cpu_s: dict[int, float] = field(default_factory=dict)
    before_s: float = 0.0
    bytes_now: int = 0
    peak_bytes: int = 0
    memory: MemoryKind = "PSS"

    def look(self) -> None:
        total = 0
        for process in _members(self.root):
            try:
                times = process.cpu_times()
                size, kind = _memory(process)
            except psutil.Error:
                continue  # it ended between the two looks
            self.cpu_s[process.pid] = times.user + times.system
            total += size
            if kind == "RSS":
                self.memory = "RSS"
        self.bytes_now = total
        self.peak_bytes = max(self.peak_bytes, total)

    def usage(self) -> Usage:
        used = sum(self.cpu_s.values()) - self.before_s
        return Usage(round(used, 2), round(self.peak_bytes / _MIB, 1), self.memory)


@dataclass(frozen=True, slots=True)
class Reading:
    """CPU seconds since the measurement began, and the memory used now."""

    cpu_s: float
    mib: float


class Sampler:
    """Looks at process trees every `period_s` while its `with` block runs, on a thread of its own.

    CPU time spent before the block does not count. Of a process that ends in the block, what it
    used since the last look is lost.
    """

    def __init__(self, pids: Mapping[str, int], *, period_s: float = _PERIOD_S) -> None:
        self._period_s = period_s
        self._trees = {name: _Tree(pid) for name, pid in pids.items()}
        self._peak_bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="usage", daemon=True)

    def usage(self) -> dict[str, Usage]:
        """By service name; complete once the block has ended."""
        return {name: tree.usage() for name, tree in self._trees.items()}

    def peak_mib(self) -> float:
        """The most that all services together used at one moment."""
        return round(self._peak_bytes / _MIB, 1)

    def readings(self) -> dict[str, Reading]:
        """By service name, as of the last look."""
        return {
            name: Reading(
                round(sum(tree.cpu_s.values()) - tree.before_s, 2),
                round(tree.bytes_now / _MIB, 1),
            )
            for name, tree in self._trees.items()
        }

    def follow(self, name: str, pid: int) -> None:
        """Look at one more service, whose CPU time counts from its own start. One of the same name
        that was looked at before is followed no longer, and adds to its figures."""
        tree = _Tree(pid)
        before = self._trees.get(name)
        if before is not None:
            tree.before_s = before.before_s - sum(before.cpu_s.values())
            tree.peak_bytes = before.peak_bytes
        self._trees = {**self._trees, name: tree}

    def _run(self) -> None:
        while not self._stop.wait(self._period_s):
            self._look()

    def _look(self) -> None:
        trees = list(self._trees.values())
        for tree in trees:
            tree.look()
        self._peak_bytes = max(self._peak_bytes, sum(tree.bytes_now for tree in trees))

    def __enter__(self) -> Self:
        self._look()
        for tree in self._trees.values():
            tree.before_s = sum(tree.cpu_s.values())
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._look()


def _members(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _memory(process: psutil.Process) -> tuple[int, MemoryKind]:
    try:
        pss = getattr(process.memory_full_info(), "pss", None)  # Linux alone has it
    except psutil.AccessDenied:
        pss = None
    if pss is not None:
        return int(pss), "PSS"
    return int(process.memory_info().rss), "RSS"
