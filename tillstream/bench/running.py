"""The running parts of a benchmark's platform: their processes, and what the stream logged."""

from pathlib import Path

from tillstream.bench.usage import Sampler
from tillstream.devstack import process
from tillstream.devstack.parts import Part


def pids(home: Path, *parts: Part) -> dict[str, int]:
    """The process of each of `parts` that runs, by name; all parts by default."""
    found = {part.value: process.running(part, home=home) for part in parts or tuple(Part)}
    return {name: managed.pid for name, managed in found.items() if managed is not None}


class StreamFollower:
    """Adds the stream to a sampler as soon as it is there, and again after each restart."""

    def __init__(self, sampler: Sampler, home: Path) -> None:
        self._sampler = sampler
        self._home = home
        self._pid: int | None = None

    def __call__(self) -> None:
        pid = pids(self._home, Part.STREAM).get(Part.STREAM)
        if pid is not None and pid != self._pid:
            self._pid = pid
            self._sampler.follow(Part.STREAM, pid)


def stream_log(home: Path) -> list[str]:
    """The lines that the stream logged so far, an older part of a long log left out."""
    log = process.log_file(home, Part.STREAM)
    return log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
