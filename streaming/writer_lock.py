"""One writer per warehouse database and home: two would count twice."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tillstream.errors import ConfigError


@contextmanager
def only_writer(home: Path, database: str) -> Iterator[None]:
    """Hold the writer's lock; the kernel drops it when the process dies. Raises ConfigError when
    another process holds it."""
    path = home / "run" / f"writer-{database}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise ConfigError(
                f"another process is writing to database {database!r} of {home}",
                hint="stop it with `tillstream down`",
            ) from exc
        yield
