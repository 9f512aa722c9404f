"""Exact money between Arrow decimals and NumPy: ten-thousandths of a currency unit as int64."""

import numpy as np
import pyarrow as pa

from streaming.schemas import MONEY

SCALE = 10_000


def to_units(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """decimal(18,4) -> int64 ten-thousandths; null becomes 0."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if len(array) == 0:
        return np.empty(0, dtype=np.int64)
    filled = array.cast(MONEY).fill_null(0)
    words = np.frombuffer(filled.buffers()[1], dtype=np.int64)
    start = 2 * filled.offset
    # A decimal128 is two little-endian words; 18 digits fit the lower one, sign included.
    return words[start : start + 2 * len(filled) : 2].copy()


def from_units(units: np.ndarray) -> pa.Array:
    """int64 ten-thousandths -> decimal(18,4)."""
    words = np.empty((len(units), 2), dtype=np.int64)
    words[:, 0] = units
    words[:, 1] = units >> 63
    return pa.Array.from_buffers(MONEY, len(units), [None, pa.py_buffer(words.tobytes())])
