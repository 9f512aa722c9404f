"""Forget old records of a lake that has no lifecycle of its own (a folder)."""

from datetime import date

from lake.client import Lake
from lake.coverage import archived


def expire(lake: Lake, *, before: date) -> int:
    """Delete the objects of arrival dates before `before`; returns how many. Safe to repeat."""
    old = [name for name, _ in archived(lake)[0] if name.arrival_date < before]
    for name in old:
        lake.delete(str(name))
    return len(old)
