"""Which events may have been stored before, told without asking the warehouse.

Nearly every event is new, and looking up a new one is dear: in every part of `event_index` the
engine reads a run of rows for it. A Bloom filter (Bloom 1970) of all stored identities answers for
those; only the few that it may contain are looked up. It never says no to one that is stored, so
nothing can count twice for its sake.
"""

import logging
import threading
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from clickhouse import queries
from clickhouse.client import Client
from streaming.batch import OffsetRange
from tillstream.errors import TillstreamError

log = logging.getLogger("tillstream.stream")

# 64 MiB: of 50 million identities it mistakes 6 new ones in a thousand for known, of 200 million
# every second one.
_BITS = 1 << 29
_HASHES = 6
# Reading more than this at a start would cost more than it saves.
_MOST = 200_000_000
# Some ten milliseconds' work, for which a batch may have to wait.
_AT_ONCE = 1 << 14

Places = Mapping[tuple[str, int], int]


class BloomFilter:
    """A set of event keys (16 bytes of MD5, which serve as their own hashes) that may also claim
    to hold others."""

    def __init__(self, bits: int = _BITS) -> None:
        """`bits` is a power of two."""
        self._mask = np.uint64(bits - 1)
        self._bytes = np.zeros(bits >> 3, dtype=np.uint8)

    def add(self, keys: pa.Array) -> None:
        byte, bit = self._places(keys)
        np.bitwise_or.at(self._bytes, byte, bit)

    def may_hold(self, keys: pa.Array) -> npt.NDArray[np.bool_]:
        byte, bit = self._places(keys)
        return np.asarray((self._bytes[byte] & bit).astype(bool).all(axis=0))

    def _places(self, keys: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        """Byte and bit of each hash (rows) of each key (columns), by double hashing (Kirsch and
        Mitzenmacher 2006)."""
        fixed = keys.cast(pa.binary(16))
        words = np.frombuffer(fixed.buffers()[1], dtype="<u8").reshape(-1, 2)
        words = words[fixed.offset : fixed.offset + len(fixed)]
        step = words[:, 1] | np.uint64(1)
        number = np.arange(_HASHES, dtype=np.uint64)[:, None]
        at = (words[:, 0] + number * step) & self._mask
        return (at >> np.uint64(3)).astype(np.int64), np.left_shift(
            np.uint8(1), (at & np.uint64(7)).astype(np.uint8)
        )


class KnownEvents:
    """Looks up stored events for the only writer of a warehouse. What others have stored is read
    in the background after `open`; until then every key is looked up."""

    def __init__(self, client: Client, *, bits: int = _BITS) -> None:
        self._client = client
        self._bits = bits
        self._guard = threading.Lock()
        self._filter: BloomFilter | None = None
        self._ready = threading.Event()
        # Every event stored or judged up to these offsets is in the filter, or is being read.
        self._covered: dict[tuple[str, int], int] = {}

    def open(self, high_water: Places) -> None:
        """`high_water`: the highest stored offset by topic_id and partition. Starts afresh when
        somebody else has stored more than we have judged."""
        if self._filter is not None and all(
            self._covered.get(place, -1) >= offset for place, offset in high_water.items()
        ):
            return
        self._covered = dict(high_water)
        self._filter = BloomFilter(self._bits)
        self._ready = threading.Event()
        threading.Thread(
            target=self._read, args=(self._filter, self._ready), name="known", daemon=True
        ).start()

    def find(self, keys: pa.Array) -> pa.Table:
        """As `queries.find_events`; and from now on knows `keys`, for they are to be stored."""
        asked = keys
        if (known := self._filter) is not None:
            with self._guard:
                if self._ready.is_set():
                    asked = keys.filter(pa.array(known.may_hold(keys)))
                known.add(keys)
        return queries.find_events(self._client, asked)

    def judged(self, ranges: Iterable[OffsetRange]) -> None:
        """The keys of these records have been through `find`."""
        for r in ranges:
            place = r.topic_id, r.partition
            self._covered[place] = max(self._covered.get(place, -1), r.last)

    def wait(self, timeout_s: float) -> bool:
        """Whether everything stored is known by then."""
        return self._ready.wait(timeout_s)

    def _read(self, into: BloomFilter, ready: threading.Event) -> None:
        try:
            for keys in queries.event_keys(self._client, at_most=_MOST):
                for start in range(0, len(keys), _AT_ONCE):
                    with self._guard:
                        into.add(keys.slice(start, _AT_ONCE))
        except TillstreamError as exc:
            log.warning("all identities are looked up, until the next start: %s", exc)
            if self._filter is into:
                self._filter = None
            return
        ready.set()
