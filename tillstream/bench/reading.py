"""Cheap reads of the warehouse while something else is measured."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Self

import httpx

from tillstream.errors import ServiceError
from tillstream.settings import WarehouseSettings

_TIMEOUT_S = 60.0


def http_options(
    warehouse: WarehouseSettings, *, timeout_s: float, **params: str
) -> dict[str, Any]:
    """What an httpx client of the benchmarks is made with; `params` go with each question."""
    return {
        "base_url": f"http://{warehouse.host}:{warehouse.port}",
        "auth": (warehouse.user, warehouse.password.get_secret_value()),
        "params": {"database": warehouse.database, **params},
        "timeout": timeout_s,
        "trust_env": False,
    }


class Reader:
    """Asks over plain HTTP and one kept connection, in one thread of the engine: a third of what a
    client that sets up a session for each query costs the machine that is being measured."""

    def __init__(self, warehouse: WarehouseSettings) -> None:
        self._http = httpx.Client(
            **http_options(warehouse, timeout_s=_TIMEOUT_S, default_format="JSONEachRow")
        )

    def rows(self, sql: str, **parameters: str) -> list[Mapping[str, Any]]:
        """Raises ServiceError when the warehouse does not answer or refuses."""
        named = {f"param_{name}": value for name, value in parameters.items()}
        try:
            answer = self._http.post("/", content=f"{sql} SETTINGS max_threads = 1", params=named)
        except httpx.HTTPError as exc:
            raise ServiceError(f"the warehouse does not answer: {exc}") from exc
        if answer.is_error:
            raise ServiceError(f"query failed: {answer.text.strip()}")
        return [json.loads(line) for line in answer.text.splitlines()]

    def close(self) -> None:
        self._http.close()


class Poller:
    """Calls `look` every `period_s` on a thread and a connection of its own while its `with` block
    runs, and once more at its end. A look that takes longer delays the next one."""

    def __init__(
        self, warehouse: WarehouseSettings, look: Callable[[Reader], None], *, period_s: float
    ) -> None:
        self._reader = Reader(warehouse)
        self._look = look
        self._period_s = period_s
        self._error: Exception | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="poller", daemon=True)

    def check(self) -> None:
        """Raises ServiceError when a look has failed: there were none since."""
        if self._error is not None:
            raise ServiceError(f"cannot follow the warehouse: {self._error}") from self._error

    def _run(self) -> None:
        try:
            wait_s = 0.0
            while not self._stop.wait(wait_s):
                began = time.monotonic()
                self._look(self._reader)
                wait_s = max(0.0, began + self._period_s - time.monotonic())
            self._look(self._reader)
        except Exception as exc:
            self._error = exc
        finally:
            self._reader.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
