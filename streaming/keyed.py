"""Rows held in memory by the key of their item, in the order of keys."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Keys = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def matches(held: Keys, keys: Keys) -> tuple[Ints, Ints]:
    """(row in `keys`, place in `held`) of every pair that is equal, by row; `held` ascends."""
    first = np.searchsorted(held, keys, side="left")
    count = np.searchsorted(held, keys, side="right") - first
    row = np.repeat(np.arange(len(keys)), count)
    before = np.cumsum(count) - count
    place = np.arange(len(row)) - before[row] + first[row]
    return row, place


@dataclass(frozen=True, slots=True)
class Moments:
    """Things that happened to items, (m,) by key and time: when (UTC ms), how many units, and a
    mark whose meaning is the owner's."""

    key: Keys = field(default_factory=lambda: np.empty(0, np.uint64))
    at_ms: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    units: Floats = field(default_factory=lambda: np.empty(0))
    mark: Bools = field(default_factory=lambda: np.empty(0, np.bool_))

    @classmethod
    def of(cls, key: Keys, at_ms: Ints, units: Floats, mark: Bools) -> "Moments":
        """In order, and once each: a batch that is seen again says nothing new."""
        order = np.lexsort((mark, units, at_ms, key))
        key, at_ms, units, mark = key[order], at_ms[order], units[order], mark[order]
        new = np.ones(len(order), dtype=np.bool_)
        new[1:] = np.logical_or.reduce(
            [column[1:] != column[:-1] for column in (key, at_ms, units, mark)]
        )
        return cls(key[new], at_ms[new], units[new], mark[new])

    @classmethod
    def of_table(cls, rows: pa.Table) -> "Moments":
        """Of (item_key, at_ms, units, mark)."""
        return cls.of(
            rows["item_key"].to_numpy().astype(np.uint64),
            rows["at_ms"].to_numpy().astype(np.int64),
            rows["units"].to_numpy().astype(np.float64),
            rows["mark"].to_numpy().astype(np.bool_),
        )

    def __len__(self) -> int:
        return len(self.key)

    def then(self, later: "Moments") -> "Moments":
        """Both."""
        if not len(later):
            return self
        return Moments.of(
            np.concatenate([self.key, later.key]),
            np.concatenate([self.at_ms, later.at_ms]),
            np.concatenate([self.units, later.units]),
            np.concatenate([self.mark, later.mark]),
        )

    def since(self, at_ms: int) -> "Moments":
        kept = self.at_ms >= at_ms
        return Moments(self.key[kept], self.at_ms[kept], self.units[kept], self.mark[kept])


@dataclass(slots=True)
class MomentLog:
    """Moments that grow with every batch. Most lie in `old`, which is sorted anew only by `settle`;
    what came since is little."""

    old: Moments = field(default_factory=Moments)
    new: Moments = field(default_factory=Moments)

    def add(self, more: Moments) -> None:
        self.new = self.new.then(more)

    def settle(self, *, since_ms: int) -> None:
        """Forget what was before."""
        self.old = self.old.then(self.new).since(since_ms)
        self.new = Moments()

    def __len__(self) -> int:
        return len(self.old) + len(self.new)

    def of(self, keys: Keys) -> tuple[Ints, Moments]:
        """(row in `keys`, what happened) by row and time; a moment that is in both counts once."""
        rows, parts = [], []
        for held in (self.old, self.new):
            row, place = matches(held.key, keys)
            rows.append(row)
            parts.append(
                Moments(held.key[place], held.at_ms[place], held.units[place], held.mark[place])
            )
        if not len(rows[1]):
            return rows[0], parts[0]
        # Rows stand in for keys, so that an item asked for twice is answered twice.
        row = np.concatenate(rows)
        both = [np.concatenate([getattr(p, n) for p in parts]) for n in ("at_ms", "units", "mark")]
        merged = Moments.of(row.astype(np.uint64), *both)
        return merged.key.astype(np.int64), merged
