"""What was sent and what Kafka acknowledged, written down outside the pipeline.

A ledger is a file of JSON lines, only ever appended to, of four kinds:

    {"e":"attempted","t":"<topic>","i":"<event identity>"}
    {"e":"acknowledged","t":"<topic>","i":"<event identity>","p":<partition>,"o":<offset>}
    {"e":"failed","t":"<topic>","i":"<event identity>","r":"<reason>"}
    {"e":"spoiled","t":"<topic>","i":"<event identity>","p":<partition>,"o":<offset>}

A spoiled event was broken on purpose: Kafka holds it, and the pipeline must refuse it. Whoever
publishes flushes the `attempted` lines before sending, so that whatever kills it, attempted holds
all that can be stored; acknowledged holds what must be.
"""

import threading
from collections.abc import Sequence
from json.encoder import encode_basestring_ascii as quote
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from tillstream.errors import ConfigError, IntegrityError, ServiceError

Identities = npt.NDArray[np.bytes_]
Offsets = npt.NDArray[np.int64]

_BUFFERED_LINES: Final = 4_096
_LINE_SCHEMA: Final = pa.schema([("e", pa.string()), ("t", pa.string()), ("i", pa.string())])
SUMMARY_SCHEMA: Final = pa.schema(
    [
        ("topic", pa.string()),
        ("identity", pa.string()),
        ("attempts", pa.int64()),
        ("acknowledged", pa.int64()),
    ]
)


class Ledger:
    """An open ledger. Any thread may write; lines reach the file in the order they were given.

    Lines wait in memory until there are 4,096 of them, `flush` or `close`. A flushed line survives
    the death of this process, not of the machine.
    """

    def __init__(self, path: Path) -> None:
        """Use `Ledger.create`."""
        self.path = path
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._file = path.open("xb", buffering=0)

    @classmethod
    def create(cls, path: Path) -> Self:
        """A new file, and its folders. Raises ConfigError when it exists or cannot be made: a
        ledger is never overwritten or continued."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return cls(path)
        except FileExistsError as exc:
            raise ConfigError(
                f"the ledger {path} already exists", hint="choose another file for --ledger"
            ) from exc
        except OSError as exc:
            raise ConfigError(f"cannot create the ledger {path}: {exc}") from exc

    def attempted(self, topic: str, identity: str) -> None:
        """An event is about to be sent."""
        self._add(f'{{"e":"attempted","t":{quote(topic)},"i":{quote(identity)}}}\n')

    def acknowledged(self, topic: str, identity: str, partition: int, offset: int) -> None:
        """Kafka holds the event, there."""
        self._add(
            f'{{"e":"acknowledged","t":{quote(topic)},"i":{quote(identity)}'
            f',"p":{partition},"o":{offset}}}\n'
        )

    def failed(self, topic: str, identity: str, reason: str) -> None:
        """Kafka did not acknowledge the event; it may hold it all the same."""
        self._add(
            f'{{"e":"failed","t":{quote(topic)},"i":{quote(identity)},"r":{quote(reason)}}}\n'
        )

    def attempted_all(self, topic: str, identities: Identities) -> None:
        """As `attempted`, for many events at once."""
        self._add_block(f'{{"e":"attempted","t":{quote(topic)},"i":"', identities, '"}\n')

    def stored_all(
        self, topic: str, identities: Identities, partition: int, offsets: Offsets, *, spoiled: bool
    ) -> None:
        """As `acknowledged`, for many events of a partition; or that they were spoiled."""
        kind = "spoiled" if spoiled else "acknowledged"
        head, middle = f'{{"e":"{kind}","t":{quote(topic)},"i":"', f'","p":{partition},"o":'
        width = len(str(int(offsets.max(initial=0))))
        powers = 10 ** np.arange(width - 1, -1, -1)
        digits = (offsets[:, None] // powers % 10 + ord("0")).astype(np.uint8)
        # JSON has no leading zeros, but takes spaces.
        digits[(offsets[:, None] < powers) & (powers > 1)] = ord(" ")
        self._add_block(head, identities, middle, digits, "}\n")

    def _add_block(self, *columns: "str | Identities | npt.NDArray[np.uint8]") -> None:
        """One line a row, of columns that are the same in every row or one text a row."""
        rows = max(len(column) for column in columns if not isinstance(column, str))
        cells: list[npt.NDArray[np.uint8]] = []
        for column in columns:
            if isinstance(column, str):
                text = np.frombuffer(column.encode("ascii"), dtype=np.uint8)
                cells.append(np.broadcast_to(text, (rows, len(text))))
            else:
                chars = np.ascontiguousarray(column)
                cells.append(chars.view(np.uint8).reshape(rows, -1))
        table = np.concatenate(cells, axis=1)
        # Shorter identities are padded with zero bytes.
        with self._lock:
            self._flush()
            self._write(table[table != 0].tobytes())

    def flush(self) -> None:
        """Everything written so far is in the file. Raises ServiceError when the disk refuses."""
        with self._lock:
            self._flush()

    def close(self) -> None:
        """Flush and close. Later calls of `close` do nothing."""
        with self._lock:
            if not self._file.closed:
                try:
                    self._flush()
                finally:
                    self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _add(self, line: str) -> None:
        with self._lock:
            self._lines.append(line)
            if len(self._lines) >= _BUFFERED_LINES:
                self._flush()

    def _flush(self) -> None:
        if not self._lines:
            return
        data = "".join(self._lines).encode("ascii")
        self._lines.clear()
        self._write(data)

    def _write(self, content: bytes) -> None:
        data = memoryview(content)
        try:
            while data:
                data = data[self._file.write(data) :]
        except (OSError, ValueError) as exc:
            raise ServiceError(f"cannot write the ledger {self.path}: {exc}") from exc


def read_ledgers(paths: Sequence[Path]) -> pa.Table:
    """One row per topic and event identity over all the ledgers: topic, identity, attempts,
    acknowledged (how often each), ordered by topic and identity.

    A last line cut short by a crash is left out. Raises ConfigError for a file that cannot be read,
    IntegrityError for one that is not a ledger.
    """
    lines = [_read_lines(path) for path in paths]
    counted = pa.concat_tables([_LINE_SCHEMA.empty_table(), *lines])
    flags = pa.table(
        {
            "topic": counted["t"],
            "identity": counted["i"],
            "attempts": pc.equal(counted["e"], "attempted").cast(pa.int64()),
            "acknowledged": pc.equal(counted["e"], "acknowledged").cast(pa.int64()),
        }
    )
    keys = ["topic", "identity"]
    summed = flags.group_by(keys).aggregate([("attempts", "sum"), ("acknowledged", "sum")])
    named = summed.select([*keys, "attempts_sum", "acknowledged_sum"])
    ordered = named.rename_columns(SUMMARY_SCHEMA.names).cast(SUMMARY_SCHEMA)
    return ordered.sort_by([(key, "ascending") for key in keys])


def _read_lines(path: Path) -> pa.Table:
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise ConfigError(f"cannot read the ledger {path}: {exc}") from exc
    whole = data.rfind(b"\n") + 1
    if not whole:
        return _LINE_SCHEMA.empty_table()
    options = pj.ParseOptions(explicit_schema=_LINE_SCHEMA, unexpected_field_behavior="ignore")
    try:
        table = pj.read_json(pa.BufferReader(memoryview(data)[:whole]), parse_options=options)
    except pa.ArrowInvalid as exc:
        raise IntegrityError(f"{path} is not a ledger, or damaged: {exc}") from exc
    if any(column.null_count for column in table.columns):
        raise IntegrityError(f"{path} is not a ledger, or damaged: a line lacks e, t or i")
    return table
