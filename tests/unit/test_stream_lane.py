"""One item ahead, never more; and a failure is heard by whoever comes next."""

import threading

import pytest

from streaming.lane import Lane

_SOON_S = 10.0


class Gate:
    """Work that begins, and ends when it is let go."""

    def __init__(self) -> None:
        self.began = threading.Semaphore(0)
        self.let_go = threading.Semaphore(0)
        self.done: list[int] = []

    def __call__(self, item: int) -> None:
        self.began.release()
        assert self.let_go.acquire(timeout=_SOON_S)
        if item < 0:
            raise ValueError(f"{item} is negative")
        self.done.append(item)


def test_put_waits_for_the_item_before_and_no_longer() -> None:
    gate = Gate()
    lane = Lane[int]("test", gate)
    lane.put(1)
    assert gate.began.acquire(timeout=_SOON_S)
    second = threading.Thread(target=lane.put, args=(2,))
    second.start()
    second.join(0.05)
    assert second.is_alive()
    gate.let_go.release()
    second.join(_SOON_S)
    assert not second.is_alive()
    gate.let_go.release()
    lane.settle()
    assert gate.done == [1, 2]
    lane.close()
    lane.close()


def test_pokes_while_busy_become_one() -> None:
    gate = Gate()
    lane = Lane[int]("test", gate)
    lane.poke(1)
    assert gate.began.acquire(timeout=_SOON_S)
    for item in (2, 3, 4):
        lane.poke(item)
    gate.let_go.release(3)
    lane.settle()
    assert gate.done == [1, 2]
    lane.close()


def test_a_failure_is_raised_until_reset() -> None:
    gate = Gate()
    gate.let_go.release(9)
    lane = Lane[int]("test", gate)
    lane.put(-1)
    with pytest.raises(ValueError, match="-1 is negative"):
        lane.put(2)
    with pytest.raises(ValueError, match="-1 is negative"):
        lane.settle()
    lane.reset()
    lane.put(3)
    lane.close()
    assert gate.done == [3]
