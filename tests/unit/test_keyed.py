"""What happened to items, found by their key."""

import numpy as np

from streaming.keyed import Keys, MomentLog, Moments, matches


def keys(*values: int) -> Keys:
    return np.array(values, dtype=np.uint64)


def moments(*rows: tuple[int, int, float, bool]) -> Moments:
    key, at_ms, units, mark = zip(*rows, strict=True)
    return Moments.of(keys(*key), np.array(at_ms), np.array(units), np.array(mark))


def test_every_match_is_found_and_nothing_else() -> None:
    row, place = matches(keys(2, 2, 5, 2**64 - 1), keys(5, 1, 2, 2**64 - 1))
    assert list(zip(row.tolist(), place.tolist(), strict=True)) == [(0, 2), (2, 0), (2, 1), (3, 3)]


def test_moments_are_found_in_order_of_time_wherever_they_are_held() -> None:
    log = MomentLog(moments((7, 10, 1.0, True), (8, 10, 2.0, True)))
    log.add(moments((7, 5, 3.0, False), (9, 1, 4.0, True)))
    row, found = log.of(keys(9, 7))
    assert row.tolist() == [0, 1, 1]
    assert found.at_ms.tolist() == [1, 5, 10]
    assert found.mark.tolist() == [True, False, True]
    log.settle(since_ms=5)
    row, found = log.of(keys(9, 7))
    assert (row.tolist(), found.units.tolist()) == ([1, 1], [3.0, 1.0])


def test_a_batch_that_is_seen_again_brings_nothing_twice() -> None:
    once = moments((7, 10, 6.0, True))
    log = MomentLog(once)
    log.add(once)
    log.add(once)
    assert log.of(keys(7))[1].units.tolist() == [6.0]
    log.settle(since_ms=0)
    assert len(log) == 1
