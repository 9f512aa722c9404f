"""A step of the night that dies by SIGKILL just before the N-th statement, insert or file that
holds a given text. A program: `python -m tests.integration.killed_night DAY STEP TEXT N`, with the
settings in the environment. STEP is `night`, or a function of `orchestration`, written as
module.function; trainings grow few trees."""

import os
import signal
import sys
from collections.abc import Callable
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

from clickhouse_connect.driver.httpclient import HttpClient

from orchestration import night
from tillstream.ml.boosting import Recipe
from tillstream.settings import load_settings


def _dies_before(owner: type, name: str, text_of: Callable[..., str], fatal: str, nth: int) -> None:
    real = getattr(owner, name)
    met = 0

    def watched(*args: Any, **options: Any) -> Any:
        nonlocal met
        met += fatal in text_of(*args)
        if met == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **options)

    setattr(owner, name, watched)


def main() -> None:
    day, step, fatal, nth = date.fromisoformat(sys.argv[1]), *sys.argv[2:4], int(sys.argv[4])
    _dies_before(HttpClient, "command", lambda _, sql, *rest: sql, fatal, nth)
    for insert in ("insert", "insert_arrow"):
        _dies_before(HttpClient, insert, lambda _, table, *rest: f"INSERT INTO {table}", fatal, nth)
    _dies_before(Path, "replace", lambda old, new: f"replace {old.name} by {new}", fatal, nth)
    if step == "night":
        night.run_night(load_settings(), day, skip=("close",))
        return
    module, function = step.split(".")
    quick = {"recipe": Recipe(rounds=5, depth=3, threads=1)} if function == "train" else {}
    getattr(import_module(f"orchestration.{module}"), function)(load_settings(), day, **quick)


if __name__ == "__main__":
    main()
