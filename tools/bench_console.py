"""How the console does with many browsers: how fast pages are, when a change is seen, memory.

It makes a database of its own in a running home's warehouse, a console over it, and browsers that
are as thin as can be: they listen to /now/live and look for the changes that this program writes as
the stream would. Of twenty changes one opens an alert and one ends the oldest; the others are news
of open ones.

    python tools/bench_console.py --home ~/.tillstream --browsers 200 --changes-per-s 50
"""

import argparse
import asyncio
import json
import os
import random
import re
import secrets
import signal
import statistics
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import psutil

from clickhouse.client import Client, connect
from clickhouse.migrate import migrate
from tillstream.clock import SystemClock
from tillstream.settings import WarehouseSettings, load_settings
from tillstream.web.accounts import Accounts
from tillstream.web.database import Database
from tillstream.web.people import Role

_PASSWORD = "only for this run"
_SEEN = re.compile(rb'id=\\?"a-bench-(\d+)\\?".*?data-version=\\?"(\d+)', re.DOTALL)
_OPEN_AT_FIRST = 500
_OPENING_EVERY = 20
_PAGES = ("/", "/now/list?severity=high", "/health")


# An alert and its version.
Change = tuple[int, int]


@dataclass(slots=True)
class Tally:
    """Seconds. `seen_s` is one entry for each change and browser."""

    written_at_s: dict[Change, float] = field(default_factory=dict)
    seen_s: list[float] = field(default_factory=list)
    page_s: list[float] = field(default_factory=list)
    reloads: int = 0
    failed: int = 0
    memory_mib: list[float] = field(default_factory=list)
    _read: dict[bytes, list[Change]] = field(default_factory=dict)

    def changes_in(self, data: bytes) -> list[Change]:
        """Browsers hear the same, so it is read once."""
        if data not in self._read:
            if len(self._read) > 100:
                self._read.clear()
            self._read[data] = [(int(n), int(version)) for n, version in _SEEN.findall(data)]
        return self._read[data]


class Alerts:
    """What the stream would say next."""

    def __init__(self) -> None:
        self._versions = dict.fromkeys(range(_OPEN_AT_FIRST), 1)
        self._count = 0
        self._random = random.Random(1)

    def first(self) -> list[tuple[int, int, str]]:
        return [(number, 1, "opened") for number in self._versions]

    def next(self) -> tuple[int, int, str]:
        """(alert, version, state)."""
        self._count += 1
        turn = self._count % _OPENING_EVERY
        if turn == 0:
            number = max(self._versions) + 1
            self._versions[number] = 1
            return number, 1, "opened"
        if turn == 1:
            number = min(self._versions)
            return number, self._versions.pop(number) + 1, "resolved"
        number = self._random.choice(list(self._versions))
        self._versions[number] += 1
        return number, self._versions[number], "updated"


async def browser(url: str, cookie: str, tally: Tally, stop: asyncio.Event) -> None:
    port = int(url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=16 * 2**20)
    request = f"GET /now/live HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie}\r\n\r\n"
    writer.write(request.encode())
    newest: dict[int, int] = {}
    while not stop.is_set():
        data = await reader.readuntil(b"\n\n")
        if b'"reload":true' in data:
            tally.reloads += 1
            async with httpx.AsyncClient(
                base_url=url, headers={"cookie": cookie}, timeout=30, trust_env=False
            ) as client:
                data = (await client.get("/now/list")).content
        now_s = time.time()
        for number, version in tally.changes_in(data):
            # One that was overtaken before it could be shown is seen with its successor.
            for one in range(newest.get(number, 0) + 1, version + 1):
                if (number, one) in tally.written_at_s:
                    tally.seen_s.append(now_s - tally.written_at_s[number, one])
            newest[number] = max(version, newest.get(number, 0))
    writer.close()


async def looker(url: str, cookie: str, tally: Tally, stop: asyncio.Event) -> None:
    """Loads pages again and again, as people do."""
    async with httpx.AsyncClient(
        base_url=url, headers={"cookie": cookie}, timeout=30, trust_env=False
    ) as client:
        turn = 0
        while not stop.is_set():
            began_s = time.perf_counter()
            answer = await client.get(_PAGES[turn % len(_PAGES)])
            tally.page_s.append(time.perf_counter() - began_s)
            tally.failed += answer.status_code != 200
            turn += 1
            await asyncio.sleep(0.2)


def write_changes(client: Client, changes: list[tuple[int, int, str]]) -> None:
    rows = ", ".join(
        f"('bench-{number}', {version}, 'S{number % 50}', 'P{number}', '{state}', 0.9, 1,"
        f" {number % 90 + version % 7}, 'runs out', now64(3), now64(3), now64(6))"
        for number, version, state in changes
    )
    client.command(
        "INSERT INTO restock_alert_history (alert_id, version, store_id, product_id, state, risk,"
        " on_hand, expected_lost_margin, explanation, opened_at, at, recorded_at) VALUES " + rows
    )


async def load(
    client: Client, process: psutil.Process, url: str, cookie: str, args: argparse.Namespace
) -> Tally:
    tally, stop, alerts = Tally(), asyncio.Event(), Alerts()
    await asyncio.to_thread(write_changes, client, alerts.first())
    await asyncio.sleep(5)
    tasks = [asyncio.create_task(browser(url, cookie, tally, stop)) for _ in range(args.browsers)]
    await asyncio.sleep(3)
    tasks.append(asyncio.create_task(looker(url, cookie, tally, stop)))
    began_s, written = time.monotonic(), 0
    while time.monotonic() - began_s < args.seconds:
        due = int((time.monotonic() - began_s + 0.5) * args.changes_per_s)
        changes = [alerts.next() for _ in range(written, due)]
        if changes:
            await asyncio.to_thread(write_changes, client, changes)
            # Seen from when the insert returned: from then on it is in the warehouse.
            at_s = time.time()
            tally.written_at_s |= dict.fromkeys([change[:2] for change in changes], at_s)
        written = due
        tally.memory_mib.append(process.memory_info().rss / 2**20)
        await asyncio.sleep(0.5)
    await asyncio.sleep(5)
    stop.set()
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    broken = [one for one in ended if isinstance(one, Exception)]
    if broken:
        raise broken[0]
    return tally


def quantile(values: list[float], share: float) -> float | None:
    return round(statistics.quantiles(values, n=1000)[int(share * 1000) - 1], 3) if values else None


def report(tally: Tally, args: argparse.Namespace) -> dict[str, object]:
    wanted = len(tally.written_at_s) * args.browsers
    return {
        "browsers": args.browsers,
        "changes": len(tally.written_at_s),
        "seconds": args.seconds,
        "page_p50_s": quantile(tally.page_s, 0.5),
        "page_p95_s": quantile(tally.page_s, 0.95),
        "pages": len(tally.page_s),
        "pages_failed": tally.failed,
        "seen_p50_s": quantile(tally.seen_s, 0.5),
        "seen_p95_s": quantile(tally.seen_s, 0.95),
        "seen_p99_s": quantile(tally.seen_s, 0.99),
        "seen_share": round(len(tally.seen_s) / wanted, 4) if wanted else None,
        "seen_max_s": round(max(tally.seen_s), 3) if tally.seen_s else None,
        "reloads": tally.reloads,
        "memory_first_mib": round(tally.memory_mib[0]),
        "memory_last_mib": round(tally.memory_mib[-1]),
        "memory_most_mib": round(max(tally.memory_mib)),
        "memory_by_tenth_mib": [
            round(statistics.mean(part)) for part in batched(tally.memory_mib, 10)
        ],
        "load_average": os.getloadavg()[0],
    }


def batched(values: list[float], parts: int) -> list[list[float]]:
    size = -(-len(values) // parts)
    return [values[at : at + size] for at in range(0, len(values), size)]


def environment(warehouse: WarehouseSettings, kafka: str) -> dict[str, str]:
    names = ("host", "port", "user", "database")
    found = {f"TILLSTREAM_WAREHOUSE__{n.upper()}": str(getattr(warehouse, n)) for n in names}
    found["TILLSTREAM_WAREHOUSE__PASSWORD"] = warehouse.password.get_secret_value()
    return {**os.environ, **found, "TILLSTREAM_KAFKA__BOOTSTRAP": kafka}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, required=True, help="a home that is up")
    parser.add_argument("--browsers", type=int, default=200)
    parser.add_argument("--changes-per-s", type=float, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    args = parser.parse_args()
    settings = load_settings(home=args.home.expanduser().absolute())
    name = f"bench_console_{secrets.token_hex(4)}"
    warehouse = settings.warehouse.model_copy(update={"database": name})
    migrate(warehouse)
    with TemporaryDirectory() as home, closing(connect(warehouse)) as client:
        clock = SystemClock()
        Accounts(Database(Path(home)), clock).add(
            "bench", Role.ON_CALL, password=_PASSWORD, stores=frozenset()
        )
        command = [sys.executable, "-m", "tillstream.cli.main", "--home", home]
        process = subprocess.Popen(
            [*command, "web", "--port", "0"],
            env=environment(warehouse, settings.kafka.bootstrap),
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            port = int(re.findall(r":(\d+);", process.stdout.readline())[0])
            url = f"http://127.0.0.1:{port}"
            with httpx.Client(base_url=url, trust_env=False) as visitor:
                visitor.post("/sign-in", data={"name": "bench", "password": _PASSWORD}, timeout=120)
                cookie = f"tillstream={visitor.cookies['tillstream']}"
            tally = asyncio.run(load(client, psutil.Process(process.pid), url, cookie, args))
            print(json.dumps(report(tally, args), indent=2))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)
            client.command(f"DROP DATABASE `{name}`")


if __name__ == "__main__":
    main()
