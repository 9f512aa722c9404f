"""Fixtures that every test may use: real services, each with its own port and folder."""

pytest_plugins = [
    "tests.fixtures.kafka",
    "tests.fixtures.kafka_secure",
    "tests.fixtures.minio",
    "tests.fixtures.platform",
    "tests.fixtures.registry",
    "tests.fixtures.spark",
    "tests.fixtures.spark_cluster",
    "tests.fixtures.warehouse",
    "tests.fixtures.warehouse_secure",
    "tests.fixtures.small_chain",
]
