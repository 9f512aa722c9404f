"""Draw docs/watch.svg: `tillstream watch` on a running platform, for a while, without a terminal.

tillstream up; tillstream replay --speed 6000 & python tools/watch_picture.py docs/watch.svg
"""

import argparse
import asyncio
from pathlib import Path

from tillstream.settings import load_settings
from tillstream.watching.app import WatchApp, sources_of

_SIZE = (126, 34)


async def draw(target: Path, seconds: float) -> None:
    app = WatchApp(sources_of(load_settings()), where="~/.tillstream")
    async with app.run_test(size=_SIZE) as pilot:
        await pilot.pause(seconds)
        app.save_screenshot(target.name, path=str(target.parent))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    asyncio.run(draw(arguments.target, arguments.seconds))
