"""States of shelves by key: whatever is put in whatever runs, each key has the last one."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streaming import shelf_states as module
from streaming.keyed import Keys
from streaming.shelf_states import Shelves


def key_of(numbers: list[int]) -> Keys:
    """Keys of all parts, in the order of their numbers."""
    return np.array(numbers, dtype=np.uint64) << np.uint64(57)


_PUTS = st.lists(st.dictionaries(st.integers(0, 120), st.integers(0, 9), max_size=20), max_size=12)


@given(_PUTS, st.lists(st.integers(0, 127), max_size=30))
def test_last_state_of_each_key_is_found_and_runs_stay_few(
    puts: list[dict[int, int]], asked: list[int]
) -> None:
    shelves, expected = Shelves(), dict[int, int]()
    for put in puts:
        keys = key_of(sorted(put))
        states = np.zeros(len(keys), dtype=module._STATE)
        states["units"] = [put[key] for key in sorted(put)]
        shelves.put(keys, states)
        expected |= put
    known, states = shelves.of(key_of(asked))
    assert known.tolist() == [key in expected for key in asked]
    assert states["units"].tolist() == [expected.get(key, 0) for key in asked]
    assert len(shelves) == len(expected)
    for number, runs in enumerate(shelves.parts):
        assert all((keys >> np.uint64(60) == number).all() for keys, _ in runs)
        assert all((np.diff(keys) > 0).all() for keys, _ in runs)
        lengths = [len(keys) for keys, _ in runs]
        assert all(one >= 8 * other for one, other in pairwise(lengths))
