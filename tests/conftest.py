"""Fixtures that every test may use: real services, each with its own port and folder."""

pytest_plugins = [
    "tests.fixtures.kafka",
    "tests.fixtures.minio",
    "tests.fixtures.platform",
    "tests.fixtures.registry",
    "tests.fixtures.spark",
    "tests.fixtures.warehouse",
]
