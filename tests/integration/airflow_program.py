"""Several `airflow` commands in one process: starting Airflow costs more than most of them.

Run as a program, with the commands as a JSON list of argument lists; the exit code is 1 when one of
them fails, and the last line of output says which.
"""

import json
import sys


def main() -> int:
    from airflow.cli import cli_parser

    for arguments in json.loads(sys.argv[1]):
        sys.argv = ["airflow", *arguments]
        parsed = cli_parser.get_parser().parse_args(arguments)
        try:
            parsed.func(parsed)
        except SystemExit as exc:
            if exc.code:
                print(f"FAILED {arguments}: {exc.code}")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
