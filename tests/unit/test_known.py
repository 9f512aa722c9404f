"""A filter that never says no to what it holds."""

import hashlib

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from streaming.known import BloomFilter


def keys(names: list[str]) -> pa.Array:
    return pa.array([hashlib.md5(name.encode()).digest() for name in names], pa.binary())


@given(st.lists(st.lists(st.text(max_size=5), max_size=40), max_size=6))
def test_what_was_added_is_held(batches: list[list[str]]) -> None:
    known = BloomFilter(1 << 10)
    for batch in batches:
        known.add(keys(batch))
    for batch in batches:
        assert known.may_hold(keys(batch)).all()


def test_a_slice_is_looked_at_and_not_what_lies_before_it() -> None:
    known = BloomFilter(1 << 16)
    several = keys(["a", "b", "c", "d"])
    known.add(several.slice(2))
    assert known.may_hold(several).tolist() == [False, False, True, True]


def test_new_keys_are_mistaken_for_known_as_seldom_as_the_theory_says() -> None:
    """(1 - e^(-kn/m))^k with k = 6 hashes, n = 10,000 keys in m = 2^17 bits: 0.25 %."""
    known = BloomFilter(1 << 17)
    known.add(keys([f"old {n}" for n in range(10_000)]))
    mistaken = known.may_hold(keys([f"new {n}" for n in range(40_000)])).mean()
    assert 0.0015 < mistaken < 0.0035
