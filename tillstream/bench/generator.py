"""A process of its own that publishes one share of a benchmark's traffic, and says how far it is.

Every half second, and at the end, it prints one JSON line on standard output.
"""

import argparse
import gc
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tillstream.bench.bulk import BulkSender
from tillstream.bench.sales import make_lines
from tillstream.bench.traffic import (
    PRODUCTS,
    STORES,
    Chain,
    Traffic,
    lines_for,
    share_of,
)
from tillstream.bench.ways import Workload
from tillstream.contracts.catalogue import load_catalogue
from tillstream.contracts.codec import Codec
from tillstream.contracts.topics import Topic
from tillstream.settings import load_settings

TICK_S = 0.02
_REPORT_S = 0.5
_BLOCK = 50_000
# Probes are sold in stores of their own, of which every partition has some.
PROBE_STORES = tuple(f"Q{number:03}" for number in range(6))


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one share is. `worst_tick_s` is the longest pause between two bursts of a paced one:
    a machine too busy to keep the pace shows here."""

    sales: int
    movements: int
    duplicates: int
    probes: int
    worst_tick_s: float
    cpu_s: float
    done: bool

    @property
    def sent(self) -> int:
        return self.sales + self.movements + self.duplicates


class _Teller:
    """Prints how far a chain is, now and then."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._next = 0.0
        self.probes = 0
        self.worst_tick_s = 0.0

    def tell(self, *, done: bool = False) -> None:
        now = time.monotonic()
        if not done and now < self._next:
            return
        self._next = now + _REPORT_S
        counts = self._chain.counts
        told = Progress(
            sales=counts.sales,
            movements=counts.movements,
            duplicates=counts.duplicates,
            probes=self.probes,
            worst_tick_s=round(self.worst_tick_s, 3),
            cpu_s=round(time.process_time(), 2),
            done=done,
        )
        sys.stdout.write(json.dumps(asdict(told)) + "\n")
        sys.stdout.flush()


def burst(
    sender: BulkSender, chain: Chain, *, events: int, start_ms: int, share: int, shares: int
) -> None:
    """One share of `events` in all, as fast as they go; their times begin at `start_ms`."""
    teller = _Teller(chain)
    lines = make_lines(Workload.SPREAD, lines_for(chain.traffic, events), start_ms=start_ms)
    for number, message in enumerate(chain.messages(share_of(lines, share, shares))):
        sender.send(message)
        if number % 1_000 == 0:
            teller.tell()
    sender.flush()
    teller.tell(done=True)


def paced(
    sender: BulkSender,
    chain: Chain,
    *,
    rate: float,
    seconds: float,
    probes_per_s: float,
    seed: int,
    share: int,
    shares: int,
) -> None:
    """`rate` events a second, in bursts a fiftieth of a second apart, each with the time it is sent
    at. A pause of the machine is made up for at once, as tills would. SIGTERM ends it early."""
    teller = _Teller(chain)
    told_to_stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told_to_stop.set())
    lines = _endless(seed, share, shares)
    began = last = time.monotonic()
    while (now := time.monotonic()) - began < seconds:
        teller.worst_tick_s = max(teller.worst_tick_s, now - last)
        last = now
        while teller.probes < (now - began) * probes_per_s:
            number = teller.probes * shares + share
            store = PROBE_STORES[number % len(PROBE_STORES)]
            product = f"P{number // len(PROBE_STORES):05}"
            for message in chain.emptied(store, product, at_ms=_now_ms()):
                sender.send(message)
            teller.probes += 1
        while chain.counts.total < (now - began) * rate:
            store_number, product_number, quantity, cents = next(lines)
            for message in chain.sold(
                store_number, product_number, quantity, cents=cents, at_ms=_now_ms()
            ):
                sender.send(message)
        sender.flush()
        teller.tell()
        if told_to_stop.wait(max(0.0, last + TICK_S - time.monotonic())):
            break
    teller.tell(done=True)


def _endless(seed: int, share: int, shares: int) -> Iterator[tuple[int, int, int, int]]:
    """(store, product, quantity, cents) of the stores of this share."""
    random = np.random.default_rng([seed, share])
    mine = np.arange(share, STORES, shares)
    while True:
        store = random.choice(mine, _BLOCK)
        product = (PRODUCTS * random.random(_BLOCK) ** 3).astype(np.int64)
        quantity = random.integers(1, 5, _BLOCK)
        cents = 99 + product % 900
        columns = (store, product, quantity, cents)
        yield from zip(*(column.tolist() for column in columns), strict=True)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--spec", type=json.loads, required=True, help="arguments of the mode")
    arguments = parser.parse_args()
    spec: dict[str, Any] = arguments.spec
    mode, traffic = spec.pop("mode"), Traffic(spec.pop("traffic"))
    settings = load_settings(home=arguments.home)
    share, shares = spec["share"], spec["shares"]
    chain = Chain(Codec(load_catalogue(settings.registry)), traffic, share=share, shares=shares)
    gc.freeze()
    sender = BulkSender(settings.kafka, (Topic.SALES, Topic.INVENTORY))
    try:
        (burst if mode == "burst" else paced)(sender, chain, **spec)
    finally:
        sender.close()


if __name__ == "__main__":
    main()
