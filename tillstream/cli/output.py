"""What commands print: people get Rich text, scripts get JSON."""

import json
import sys
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

# The exit code after Ctrl-C.
INTERRUPTED = 130

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def emit_json(value: Any) -> None:
    """One JSON document on standard output, never wrapped or coloured."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def minute(time_ms: int) -> str:
    """A moment (milliseconds since 1970) as its UTC minute."""
    return datetime.fromtimestamp(time_ms / 1000, tz=UTC).strftime("%Y-%m-%d %H:%M")
