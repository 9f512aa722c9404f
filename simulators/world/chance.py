"""Chance that depends on what it is for, and on nothing else.

Every draw comes from a Philox counter stream named by the run's seed, a purpose, a subject (a
store, a region) and a time (a slot, a day). Which process draws it, and what was drawn before,
changes nothing.
"""

from enum import IntEnum

import numpy as np

_MASK = (1 << 64) - 1


class Purpose(IntEnum):
    """What a stream is for. The numbers are part of a scenario's version: never reuse one."""

    CATALOGUE = 1
    STORES = 2
    PLANOGRAM = 3
    OPENING = 4
    SLOT = 5
    DAY = 6
    PROMOTIONS = 7
    WEATHER = 8
    FAULTS = 9
    SHOCK = 10
    TRAFFIC = 11


def stream(seed: int, purpose: Purpose, *, subject: int = 0, at: int = 0) -> np.random.Generator:
    """The stream of this purpose. Streams of different names never overlap."""
    # Lists of Python integers would pass through floating point where they are large.
    counter = np.array([0, 0, subject & _MASK, at & _MASK], dtype=np.uint64)
    key = np.array([seed & _MASK, int(purpose)], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))
