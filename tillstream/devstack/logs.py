"""Read the local services' logs, also while they grow."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from tillstream.devstack.process import log_file, tail

_POLL_S = 0.2


def recent(home: Path, names: Iterable[str], *, lines: int) -> Iterator[tuple[str, str]]:
    """The last lines of each log as (name, line)."""
    for name in names:
        for line in tail(log_file(home, name), lines=lines):
            yield name, line


def follow(home: Path, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Whole lines written after this call as (name, line), forever; survives a log's rotation."""
    paths = {name: log_file(home, name) for name in names}
    return _follow(paths, {name: _size(path) for name, path in paths.items()})


def _follow(paths: dict[str, Path], at: dict[str, int]) -> Iterator[tuple[str, str]]:
    while True:
        for name, path in paths.items():
            size = _size(path)
            if size < at[name]:
                at[name] = 0
            if size > at[name]:
                lines, used = _whole_lines(path, start=at[name])
                at[name] += used
                for line in lines:
                    yield name, line
        time.sleep(_POLL_S)


def _whole_lines(path: Path, *, start: int) -> tuple[list[str], int]:
    """Complete lines from an offset, and how many bytes they take."""
    with path.open("rb") as file:
        file.seek(start)
        body = file.read()
    used = body.rfind(b"\n") + 1
    return body[:used].decode("utf-8", "replace").splitlines(), used


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
