"""Fixtures that every test may use: real services, each with its own port and folder.

`make test` lets two workers take files in turn (pytest-xdist). Each has services of its own, so a
test sees nothing of the other worker; those that ask what runs on the machine ask for their own
folder or port.
"""

import pytest

pytest_plugins = [
    "tests.fixtures.kafka",
    "tests.fixtures.kafka_secure",
    "tests.fixtures.minio",
    "tests.fixtures.platform",
    "tests.fixtures.registry",
    "tests.fixtures.short_lived_java",
    "tests.fixtures.spark",
    "tests.fixtures.spark_cluster",
    "tests.fixtures.warehouse",
    "tests.fixtures.warehouse_secure",
    "tests.fixtures.nights",
    # Last: it uses the others.
    "tests.fixtures.console",
    "tests.fixtures.small_chain",
]

# Whole platforms first, and the quick files last: then both workers end at about the same time.
_ORDER = ("chaos", "e2e", "integration", "spark", "unit")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Workers begin with what takes longest. Alone, `pytest` begins with what fails soonest."""
    if hasattr(config, "workerinput"):
        items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    folder = item.nodeid.split("/")[1]
    return _ORDER.index(folder) if folder in _ORDER else len(_ORDER)
