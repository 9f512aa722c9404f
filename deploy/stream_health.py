"""Health check of the stream's container: exit 0 while both of its queries run."""

import json
import os
import sys
from pathlib import Path


def main() -> int:
    path = Path(os.environ["TILLSTREAM_HOME"]) / "run" / "stream.json"
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        sys.stdout.write(f"no state yet: {exc}\n")
        return 1
    sys.stdout.write(f"{state.get('state')}: {state.get('queries')}\n")
    return 0 if state.get("state") == "running" else 1


if __name__ == "__main__":
    sys.exit(main())
