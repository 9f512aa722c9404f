"""Putting right what an interrupted batch left half done, before anything new is written.

A batch writes facts first, then what is derived from them (identity index, window sums, stock),
and at last its commit. So after an interruption everything uncommitted lies at or above the
committed cut, and can be derived again from the facts found there.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from clickhouse import queries, stored
from clickhouse.client import Client
from clickhouse.damage import PutAside, derive_again, put_aside
from tillstream.errors import ServiceError

log = logging.getLogger("tillstream.stream")

_POLL_S = 0.1
_INSERT_LIMIT_S = 300.0


@dataclass(frozen=True, slots=True)
class Recovered:
    """`high_water`: the highest stored offset by (topic_id, partition). A batch that begins at or
    below it must ask which of its offsets are stored already."""

    high_water: Mapping[tuple[str, int], int]
    repaired_rows: int


def recover(client: Client, query: str) -> Recovered:
    """Bring everything derived back in line with the facts above the committed cut of `query`.

    Safe to run at any time by the only writer; running it twice changes nothing more. Raises
    ServiceError when an insert of a former writer does not end in time.
    """
    _await_former_writer(client)
    make_good(client, put_aside(client))
    high_water = queries.highest_offsets(client)
    return Recovered(high_water, repair(client, high_water, queries.committed_cuts(client, query)))


def make_good(client: Client, damaged: Sequence[PutAside]) -> None:
    """Derive again what `damaged` parts may have held, and drop those. Nobody else may be writing.

    With a part of facts among them nothing is done: windows that hold a sale whose fact is gone are
    nearer to the truth than windows made equal to what is left.
    """
    if not damaged:
        return
    names = ", ".join(f"{part.table} {part.name}" for part in damaged)
    if all(part.is_derived for part in damaged):
        log.warning("could not be read, and are derived again from the facts: %s", names)
        derive_again(client, list(damaged))
        log.warning("derived again: %s", names)
    else:
        log.error(
            "could not be read: %s; `tillstream verify` says whether rows are gone, and"
            " docs/runbook.md what to do (a part cannot be read)",
            names,
        )


def repair(
    client: Client, high_water: Mapping[tuple[str, int], int], committed: Sequence[queries.Cut]
) -> int:
    """Bring what is derived in line with the facts between `committed` and `high_water`, which
    nobody else may be writing. Returns how many facts were looked at."""
    cuts = {(cut.topic_id, cut.partition): cut.next_offset for cut in committed}
    uncommitted = [
        (topic_id, partition, cuts.get((topic_id, partition), 0), high)
        for (topic_id, partition), high in high_water.items()
        if high >= cuts.get((topic_id, partition), 0)
    ]
    return stored.repair_derived(client, uncommitted) if uncommitted else 0


def _await_former_writer(client: Client) -> None:
    """A killed driver's last insert may still be running in the server."""
    deadline = time.monotonic() + _INSERT_LIMIT_S
    while stored.running_inserts(client):
        if time.monotonic() > deadline:
            raise ServiceError(
                f"an insert by a former stream has been running for {_INSERT_LIMIT_S:.0f} s",
                hint="see `tillstream sql 'SELECT * FROM system.processes'`",
            )
        time.sleep(_POLL_S)


def stored_in(client: Client, ranges: list[tuple[str, int, int, int]]) -> pa.Table:
    """Coordinates already stored in the inclusive ranges, wherever they landed."""
    return stored.offsets_in(client, ranges, tables=queries.LANDING_TABLES)
