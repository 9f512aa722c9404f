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


def scratch_settings(base: Settings, home: Path, **stream_settings: object) -> Settings:
    """The stream's settings as the user has them but for `stream_settings`, in another home.
    Raises ConfigError when a lake of the user's own would be written to."""
    if base.lake.url is not None:
        raise ConfigError(
            f"a benchmark writes to a lake of its own, but the lake is set to {base.lake.url}",
            hint="unset TILLSTREAM_LAKE__URL for it",
        )
    stream = StreamSettings.model_validate(base.stream.model_dump() | stream_settings)
    return load_settings(home=home, cache=base.cache, stream=stream)


@contextmanager
def scratch_home(prefix: str, *, keep: bool = False) -> Iterator[Path]:
    """A new folder; at the end the services started in it are stopped and it is removed, unless
    `keep`. SIGTERM ends the block as Ctrl-C does, so that no service outlives it."""
    home = Path(tempfile.mkdtemp(prefix=prefix))
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield home
    finally:
        # A second, impatient signal would leave a broker running.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            Stack(load_settings(home=home)).down()
        finally:
            if not keep:
                shutil.rmtree(home, ignore_errors=True)
            signal.signal(signal.SIGINT, interrupt)
            signal.signal(signal.SIGTERM, before)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
