"""Where the engine writes an answer while the query runs, and where it is read from.

The engine writes to a file descriptor of this process (`INTO OUTFILE '/dev/fd/N'`). A pipe holds
about 1 MB and then makes the engine wait, so an answer of any size takes constant memory.
"""

import asyncio
import fcntl
import os
from contextlib import suppress

_CHUNK_BYTES = 1 << 18
_PIPE_BYTES = 1 << 20


class Pipe:
    """Hands bytes over as they are made. `finish` and `close` may be called again."""

    def __init__(self) -> None:
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            with suppress(OSError):  # the user's share of pipe memory is used up
                fcntl.fcntl(self._write_end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    @property
    def descriptor(self) -> int:
        """Where the engine writes."""
        return self._write_end

    def finish(self) -> None:
        """The query has ended. Callable from any thread."""
        write_end, self._write_end = self._write_end, -1
        if write_end >= 0:
            os.close(write_end)

    async def read(self) -> bytes:
        """The next bytes, or none once the query has ended and everything was read."""
        while True:
            try:
                return os.read(self._read_end, _CHUNK_BYTES)
            except BlockingIOError:
                await self._readable()

    def close(self) -> None:
        """Let go of what is still unread. An engine that still writes is not told: cancel it."""
        read_end, self._read_end = self._read_end, -1
        if read_end >= 0:
            os.close(read_end)

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(self._read_end, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self._read_end)
