"""States of shelves by key: whatever is put in whatever runs, each key has the last one."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streaming import shelf_states as module
from streaming.shelf_states import Shelves

_PUTS = st.lists(st.dictionaries(st.integers(0, 60), st.integers(0, 9), max_size=20), max_size=12)


@given(_PUTS, st.lists(st.integers(0, 70), max_size=30))
def test_last_state_of_each_key_is_found_and_runs_stay_few(
    puts: list[dict[int, int]], asked: list[int]
) -> None:
    shelves, expected = Shelves(), dict[int, int]()
    for put in puts:
        keys = np.array(sorted(put), dtype=np.uint64)
        states = np.zeros(len(keys), dtype=module._STATE)
        states["units"] = [put[key] for key in sorted(put)]
        shelves.put(keys, states)
        expected |= put
    known, states = shelves.of(np.array(asked, dtype=np.uint64))
    assert known.tolist() == [key in expected for key in asked]
    assert states["units"].tolist() == [expected.get(key, 0) for key in asked]
    assert len(shelves) == len(expected)
    lengths = [len(keys) for keys, _ in shelves.runs]
    assert all(one >= 8 * other for one, other in pairwise(lengths))
