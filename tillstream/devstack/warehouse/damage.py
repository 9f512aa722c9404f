"""Parts that cannot be read: put aside, and the parts they were merged from taken again.

A disk that fills while the engine (26.9) merges can leave a part of empty files, which the engine
takes for a good one: every query of that table then fails, and eight minutes after the merge the
engine deletes the parts that it was made from. Only loading a table looks at its parts, so the
table is detached and attached again. Loading puts a part that cannot be read aside, in the table's
`detached` folder, as `broken-on-start`, and serves the parts that it covered.

What no older part stands in for is gone from the table. The stream looks for parts put aside, and
derives their rows again from the facts (clickhouse/damage.py).
"""

import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tillstream.devstack.warehouse.errors import CORRUPTED_DATA, QueryError
from tillstream.devstack.warehouse.statement import quote_name, quote_text

log = logging.getLogger("tillstream.warehouse")

# CHECKSUM_DOESNT_MATCH, FILE_DOESNT_EXIST, CANNOT_READ_ALL_DATA and their kin.
_CODES = frozenset({CORRUPTED_DATA, 27, 32, 33, 40, 107, 117, 226, 228, 271, 432})
_NAME = r"(?:`(?:[^`\\]|\\.)+`|\w+)"
_PART = re.compile(
    # A projection is read as a part of its own, and goes with the one that it lies in.
    r"while reading from part (?P<path>\S+?)(?:/\w+\.proj)?/?"
    rf" in table (?P<table>{_NAME}\.{_NAME}) "
)
_LOOK_EVERY_S = 30.0
# The engine's default (old_parts_lifetime) and some.
_OLD_PARTS_STAY_S = 600
_ATTACH_TRIES = 20
_BETWEEN_TRIES_S = 0.5

# Told of each damaged part what came of it: healed, lost or failed.
Tally = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class DamagedPart:
    """`table` is written as statements write it, `path` is the part's folder."""

    table: str
    path: str

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def folder(self) -> str:
        """The table's, with a slash at its end."""
        return self.path.removesuffix(self.name)


def damaged_part(error: QueryError) -> DamagedPart | None:
    """The part that an engine's error is about, when it says that one cannot be read."""
    found = _PART.search(str(error)) if error.code in _CODES else None
    return DamagedPart(found["table"], found["path"]) if found else None


class Healer:
    """Loads tables with damaged parts again; each part is tried once, however often it is met.

    `ask` runs a statement in the engine and returns its rows as text. Safe from several threads.
    """

    def __init__(self, ask: Callable[[str], str], tally: Tally = lambda outcome: None) -> None:
        self._ask = ask
        self._tally = tally
        self._guard = threading.Lock()
        self._outcomes: dict[str, str] = {}
        self._stopping = threading.Event()
        self._watch = threading.Thread(target=self._keep_looking, name="damage", daemon=True)

    def start(self) -> None:
        """Look for empty parts from now on, before anybody asks for their rows."""
        self._watch.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._watch.ident is not None:
            self._watch.join()

    def heal(self, part: DamagedPart) -> str:
        """Put the part aside and serve those that it covered; says what came of it. Raises
        nothing: who calls has an error of its own to report."""
        with self._guard:
            if part.path not in self._outcomes:
                self._outcomes[part.path] = self._heal(part)
            return self._outcomes[part.path]

    def look(self) -> None:
        """Heal every active part of which the list of its own files is empty."""
        rows = self._ask(
            "SELECT database, table, path FROM system.parts WHERE active"
            f" AND modification_time > now() - {_OLD_PARTS_STAY_S}"
        )
        for database, table, path in (row.split("\t") for row in rows.splitlines()):
            if _is_empty(Path(path) / "checksums.txt"):
                name = f"{quote_name(database)}.{quote_name(table)}"
                self.heal(DamagedPart(name, path.rstrip("/")))

    def _keep_looking(self) -> None:
        while not self._stopping.wait(_LOOK_EVERY_S):
            try:
                self.look()
            except RuntimeError as exc:  # the engine's; it may be full, or about to end
                log.warning("cannot look for damaged parts: %s", exc)

    def _heal(self, part: DamagedPart) -> str:
        log.warning("%s: cannot read part %s; loading the table again", part.table, part.name)
        try:
            self._load_again(part.table)
            outcome, words = self._outcome(part)
        except RuntimeError as exc:
            outcome, words = "failed", f"loading the table again failed: {exc}"
        self._tally(outcome)
        level = logging.WARNING if outcome == "healed" else logging.ERROR
        log.log(level, "%s: part %s: %s", part.table, part.name, words)
        return words

    def _load_again(self, name: str) -> None:
        self._ask(f"DETACH TABLE {name}")
        for left in reversed(range(_ATTACH_TRIES)):
            try:
                self._ask(f"ATTACH TABLE {name}")
            except RuntimeError:
                if not left:
                    raise
                # While a query still reads the table it cannot be attached, and until it is
                # attached nobody else can read it: so readers get a while, and are then cancelled.
                if left < _ATTACH_TRIES // 2:
                    self._ask("KILL QUERY WHERE query_kind = 'Select' ASYNC")
                time.sleep(_BETWEEN_TRIES_S)
            else:
                return

    def _outcome(self, part: DamagedPart) -> tuple[str, str]:
        aside = self._ask(
            "SELECT partition_id, min_block_number, max_block_number FROM system.detached_parts"
            f" WHERE startsWith(path, {quote_text(part.folder)}) AND reason = 'broken-on-start'"
            f" AND endsWith(name, {quote_text(part.name)}) LIMIT 1"
        )
        if not aside:
            return "failed", "the engine takes it for a good one again: tillstream verify"
        partition, first, last = aside.split("\t")
        instead = self._ask(
            "SELECT count(), sum(rows), sum(max_block_number - min_block_number + 1)"
            f" FROM system.parts WHERE active AND startsWith(path, {quote_text(part.folder)})"
            f" AND partition_id = {quote_text(partition)}"
            f" AND min_block_number >= {first} AND max_block_number <= {last}"
        )
        parts, rows, blocks = map(int, instead.split("\t"))
        if blocks < int(last) - int(first) + 1:
            return "lost", "put aside, and no older parts have all its rows: tillstream verify"
        return "healed", f"put aside; the {parts} parts it was merged from serve {rows} rows again"


def _is_empty(path: Path) -> bool:
    try:
        return path.stat().st_size == 0
    except OSError:  # merged away, or in memory, in the meantime
        return False
