"""A night that dies by SIGKILL just before the statement that holds a given text. A program:
`python -m tests.integration.killed_night DAY TEXT`, with the settings in the environment."""

import os
import signal
import sys
from datetime import date
from typing import Any

from clickhouse.client import Client
from clickhouse.queries import command as real_command
from orchestration import night, rollups
from tillstream.settings import load_settings


def main() -> None:
    day, fatal = date.fromisoformat(sys.argv[1]), sys.argv[2]

    def command(client: Client, sql: str, **options: Any) -> None:
        if fatal in sql:
            os.kill(os.getpid(), signal.SIGKILL)
        real_command(client, sql, **options)

    setattr(rollups, "command", command)  # noqa: B010
    night.run_night(load_settings(), day, skip=("close", "report"))


if __name__ == "__main__":
    main()
