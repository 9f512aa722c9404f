"""A platform in a folder that is gone afterwards, whatever happens."""

import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from tillstream.devstack.stack import Stack
from tillstream.errors import ConfigError
from tillstream.settings import Settings, StreamSettings, load_settings


def scratch_settings(base: Settings, home: Path, *, lake_trigger_s: float) -> Settings:
    """The stream's settings as the user has them, in another home, with a lake that is written
    often enough to wait for. Raises ConfigError when a lake of the user's own would be written to.
    """
    if base.lake.url is not None:
        raise ConfigError(
            f"a benchmark writes to a lake of its own, but the lake is set to {base.lake.url}",
            hint="unset TILLSTREAM_LAKE__URL for it",
        )
    stream = StreamSettings(**{**base.stream.model_dump(), "lake_trigger_s": lake_trigger_s})
    return load_settings(home=home, cache=base.cache, stream=stream)


@contextmanager
def scratch_home(prefix: str) -> Iterator[Path]:
    """A new folder; at the end the services started in it are stopped and it is removed. SIGTERM
    ends the block as Ctrl-C does, so that no service outlives it."""
    home = Path(tempfile.mkdtemp(prefix=prefix))
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield home
    finally:
        # A second, impatient Ctrl-C would leave a broker running.
        interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            Stack(load_settings(home=home)).down()
        finally:
            shutil.rmtree(home, ignore_errors=True)
            signal.signal(signal.SIGINT, interrupt)
            signal.signal(signal.SIGTERM, before)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
