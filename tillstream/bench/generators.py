"""The processes that publish a benchmark's traffic, seen from the benchmark."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any, Self

from tillstream.bench.generator import Progress
from tillstream.errors import ServiceError

_STOP_S = 10.0


class Generators:
    """Starts one generator for each share of the traffic; leaving the context stops them.

    `spec` holds the arguments of `tillstream.bench.generator`'s mode, except the share.
    """

    def __init__(self, home: Path, spec: dict[str, Any], *, shares: int) -> None:
        self._home = home
        self._specs = [{**spec, "share": share, "shares": shares} for share in range(shares)]
        self._processes: list[subprocess.Popen[bytes]] = []
        self._readers: list[threading.Thread] = []
        self._last: dict[int, Progress] = {}

    def progress(self) -> Progress:
        """The sum over all generators, at most half a second old."""
        last = list(self._last.values())
        return Progress(
            sales=sum(one.sales for one in last),
            movements=sum(one.movements for one in last),
            duplicates=sum(one.duplicates for one in last),
            probes=sum(one.probes for one in last),
            worst_tick_s=max((one.worst_tick_s for one in last), default=0.0),
            cpu_s=round(sum(one.cpu_s for one in last), 2),
            done=len(last) == len(self._specs) and all(one.done for one in last),
        )

    def wait(self, timeout_s: float) -> bool:
        """Whether all are done; looks again after `timeout_s` at most. Raises ServiceError when
        one has failed."""
        for number, process in enumerate(self._processes):
            try:
                ended = process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                return False
            if ended:
                log = self._log(number).read_text(encoding="utf-8").strip().splitlines()
                raise ServiceError(
                    f"a generator ended with {ended}: {log[-1] if log else 'it said nothing'}",
                    hint=f"its log was {self._log(number)}",
                )
        for reader in self._readers:
            reader.join()
        return True

    def stop(self) -> Progress:
        """End paced traffic now; everything that was sent."""
        for process in self._processes:
            process.terminate()
        while not self.wait(_STOP_S):
            pass
        return self.progress()

    def _log(self, number: int) -> Path:
        return self._home / "logs" / f"generator-{number}.log"

    def _read(self, number: int, lines: IO[bytes]) -> None:
        for line in lines:
            self._last[number] = Progress(**json.loads(line))

    def __enter__(self) -> Self:
        argv = [sys.executable, "-P", "-m", "tillstream.bench.generator", "--home", str(self._home)]
        for number, spec in enumerate(self._specs):
            self._log(number).parent.mkdir(parents=True, exist_ok=True)
            with self._log(number).open("wb") as log:
                process = subprocess.Popen(
                    [*argv, "--spec", json.dumps(spec)],
                    stdout=subprocess.PIPE,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C is ours to handle
                )
            self._processes.append(process)
            assert process.stdout is not None
            reader = threading.Thread(target=self._read, args=(number, process.stdout), daemon=True)
            reader.start()
            self._readers.append(reader)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for reader, process in zip(self._readers, self._processes, strict=True):
            reader.join()
            if process.stdout is not None:
                process.stdout.close()
