"""What was really so, as Parquet beside the ledger. The pipeline never reads it.

demand.parquet     units wanted, sold, unmet, moved on, by store, product and slot
stockouts.parquet  from when until when a shelf was truly empty
stock.parquet      what lay there and what the books said, of each reported shelf, at the end
errors.parquet     by how many units a reported shelf holds more than its books say, from when on
orders.parquet     the chain's order book: what was ordered and sent, promised for when, and when it
                   was received. What had been ordered is no secret; when it comes is, until then
faults.parquet     the manifest: each message with a fault, where Kafka has it, and where the
                   pipeline must have put it
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from simulators.world.avro import Bytes
from simulators.world.columns import DemandTruth, ErrorTruth, Orders, ShelfTruth, SlotEvents
from simulators.world.faults import EXPECTED, Fault
from simulators.world.messages import Messages, product_ids, store_ids
from simulators.world.state import StoreState
from tillstream.contracts.topics import SOURCE_TOPICS
from tillstream.errors import ConfigError, ServiceError

Ints = npt.NDArray[np.int64]

_MS = pa.timestamp("ms", tz="UTC")
_ITEM = [("store_id", pa.string()), ("product_id", pa.string())]
SCHEMAS: Final[Mapping[str, pa.Schema]] = {
    "demand": pa.schema(
        [
            ("slot_start", _MS),
            *_ITEM,
            *((name, pa.int32()) for name in ("wanted", "sold", "unmet", "moved_on")),
        ]
    ),
    "shelves": pa.schema([("at", _MS), *_ITEM, ("is_empty", pa.bool_())]),
    "stockouts": pa.schema([*_ITEM, ("empty_from", _MS), ("empty_until", _MS)]),
    "errors": pa.schema([("at", _MS), *_ITEM, ("error", pa.int32())]),
    "orders": pa.schema(
        [
            ("ordered_at", _MS),
            *_ITEM,
            ("units", pa.int32()),
            ("expected_at", _MS),
            ("received_at", _MS),
            ("is_transfer", pa.bool_()),
        ]
    ),
    "stock": pa.schema([*_ITEM, ("physical", pa.int32()), ("recorded", pa.int32())]),
    "faults": pa.schema(
        [
            ("kind", pa.string()),
            ("expected", pa.string()),
            ("topic", pa.string()),
            ("partition", pa.int32()),
            ("offset", pa.int64()),
            ("identity", pa.string()),
            ("store_id", pa.string()),
            ("event_time", _MS),
        ]
    ),
}
# What is left in the folder when a run is over.
TABLES: Final = ("demand", "stockouts", "stock", "errors", "orders", "faults")


class TruthWriter:
    """The truth of one share of a run, into `<folder>/<table>.<share>.parquet`, as it happens.

    `finish` completes it; leaving the context without it, after a failure, keeps what was written.
    Raises ServiceError when the disk refuses.
    """

    def __init__(self, folder: Path, share: int) -> None:
        self._folder = folder
        self._share = share
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._turns: list[ShelfTruth] = []

    def slot(self, events: SlotEvents) -> None:
        """All that is kept of a slot."""
        self.demand(events.demand)
        self.shelves(events.shelves)
        self.errors(events.errors)
        self.orders(events.orders)

    def demand(self, rows: DemandTruth) -> None:
        columns = (rows.wanted, rows.sold, rows.unmet, rows.moved_on)
        self._write("demand", rows.at_ms, *_items(rows.store, rows.product), *columns)

    def shelves(self, rows: ShelfTruth) -> None:
        self._turns.append(rows)

    def errors(self, rows: ErrorTruth) -> None:
        self._write("errors", rows.at_ms, *_items(rows.store, rows.product), rows.error)

    def orders(self, rows: Orders) -> None:
        times = (rows.expected_at_ms, rows.received_at_ms)
        items = _items(rows.store, rows.product)
        transfer = rows.is_transfer.astype(bool)
        self._write("orders", rows.ordered_at_ms, *items, rows.units, *times, transfer)

    def faults(self, messages: Messages, partition: Ints, offset: Ints) -> None:
        """Messages with a fault, and where Kafka has them."""
        kinds = [Fault(code) for code in messages.fault.tolist()]
        self._write(
            "faults",
            [kind.name.lower() for kind in kinds],
            [EXPECTED[kind] for kind in kinds],
            [SOURCE_TOPICS[at].value for at in messages.topic.tolist()],
            partition,
            offset,
            _texts(messages.identity),
            _texts(_strings(store_ids(messages.store))),
            messages.at_ms,
        )

    def finish(self, states: Sequence[StoreState], end_ms: int) -> None:
        """Write down how it ended; stock-outs that go on end at `end_ms`."""
        self._write("stockouts", *intervals(self._turns, end_ms))
        for state in states:
            reported = np.flatnonzero(state.sequence)
            store = np.full(len(reported), state.store.number)
            items = _items(store, state.planogram.products[reported])
            self._write("stock", *items, state.physical[reported], state.recorded[reported])
        for table in TABLES:
            self._writer(table)
        self._close()

    def _write(self, table: str, *columns: Any) -> None:
        if not len(columns[0]):
            return
        schema = SCHEMAS[table]
        arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
        try:
            self._writer(table).write_table(pa.table(arrays, schema=schema))
        except OSError as exc:
            raise ServiceError(f"cannot write the truth in {self._folder}: {exc}") from exc

    def _writer(self, table: str) -> pq.ParquetWriter:
        if table not in self._writers:
            path = part_path(self._folder, table, self._share)
            self._writers[table] = pq.ParquetWriter(path, SCHEMAS[table], compression="zstd")
        return self._writers[table]

    def _close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()


def part_path(folder: Path, table: str, share: int) -> Path:
    return folder / f"{table}.{share}.parquet"


def merge_parts(folder: Path, shares: int) -> None:
    """One file a table, from those of all shares that got so far."""
    for table in TABLES:
        parts = [part_path(folder, table, share) for share in range(shares)]
        found = [path for path in parts if path.is_file()]
        if len(found) == 1:
            found[0].replace(folder / f"{table}.parquet")
            continue
        path = folder / f"{table}.parquet"
        with pq.ParquetWriter(path, SCHEMAS[table], compression="zstd") as writer:
            for part in found:
                with pq.ParquetFile(part) as file:
                    for number in range(file.num_row_groups):
                        writer.write_table(file.read_row_group(number))
        for part in found:
            part.unlink()


def read_faults(folders: Sequence[Path]) -> pa.Table:
    """The manifests of finished runs. Raises ConfigError for a folder without one."""
    parts = [SCHEMAS["faults"].empty_table()]
    for folder in folders:
        path = folder / "faults.parquet"
        try:
            parts.append(pq.read_table(path))
        except (OSError, pa.ArrowInvalid) as exc:
            raise ConfigError(
                f"cannot read the manifest {path}: {exc}",
                hint="it is complete once the run has ended",
            ) from exc
    return pa.concat_tables(parts)


def intervals(turns: Sequence[ShelfTruth], end_ms: int) -> tuple[Any, Any, Ints, Ints]:
    """Columns of `stockouts`, from when shelves became empty and stopped being so."""
    if not turns:
        nothing = np.empty(0, dtype=np.int64)
        return [], [], nothing, nothing
    store = np.concatenate([one.store for one in turns])
    product = np.concatenate([one.product for one in turns])
    at_ms = np.concatenate([one.at_ms for one in turns])
    is_empty = np.concatenate([one.is_empty for one in turns])
    # Slots come in order of time, and so do the turns of a shelf within one.
    order = np.lexsort((np.arange(len(at_ms)), product, store))
    store, product, at_ms, is_empty = (a[order] for a in (store, product, at_ms, is_empty))
    begins = np.flatnonzero(is_empty)
    after = np.minimum(begins + 1, len(store) - 1)
    refilled = (
        (begins + 1 < len(store))
        & (store[after] == store[begins])
        & (product[after] == product[begins])
    )
    until = np.where(refilled, at_ms[after], end_ms)
    return *_items(store[begins], product[begins]), at_ms[begins], np.maximum(until, at_ms[begins])


def _items(store: Ints, product: Ints) -> tuple[Any, Any]:
    return _texts(_strings(store_ids(store))), _texts(_strings(product_ids(product)))


def _strings(chars: Bytes) -> npt.NDArray[np.bytes_]:
    return np.ascontiguousarray(chars).view(f"S{chars.shape[1]}").ravel()


def _texts(values: npt.NDArray[np.bytes_]) -> pa.Array:
    return pa.array(values, pa.binary()).cast(pa.string())
