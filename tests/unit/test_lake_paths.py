from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.paths import KINDS, ObjectName
from tillstream.contracts.topics import SOURCE_TOPICS, Topic
from tillstream.errors import ConfigError, IntegrityError

TOPIC_ID = "0b3c8a4e-6d2f-4a51-9c77-51e0d8c1f2aa"
NAME = ObjectName(Topic.SALES, TOPIC_ID, 2, 100, 249, date(2025, 3, 9))
PATH = (
    "raw-data/sales/year=2025/month=03/day=09/retail-sales-transactions-"
    f"{TOPIC_ID}-00002-00000000000000000100-00000000000000000249.parquet"
)

an_offset = st.integers(0, 2**63 - 1)
offsets: st.SearchStrategy[tuple[int, int]] = st.tuples(an_offset, an_offset).map(
    lambda pair: (min(pair), max(pair))
)
object_names = st.builds(
    lambda topic, topic_id, partition, pair, on: ObjectName(
        topic, topic_id, partition, pair[0], pair[1], on
    ),
    st.sampled_from(SOURCE_TOPICS),
    st.uuids().map(str) | st.from_regex(r"[A-Za-z0-9_-]{1,30}", fullmatch=True),
    st.integers(0, 99_999),
    offsets,
    st.dates(),
)


def test_name_shows_kind_arrival_date_coordinates_and_range() -> None:
    assert str(NAME) == PATH
    assert NAME.rows == 150


@given(object_names)
def test_every_name_reads_back_as_itself(name: ObjectName) -> None:
    assert ObjectName.parse(str(name)) == name


@given(offsets, offsets)
def test_names_of_a_partition_and_day_sort_by_offset(
    one: tuple[int, int], other: tuple[int, int]
) -> None:
    first, second = (
        ObjectName(Topic.SALES, TOPIC_ID, 0, *at, date(2025, 1, 1)) for at in (one, other)
    )
    assert (str(first) < str(second)) == (one < other)


def test_every_source_topic_has_a_kind() -> None:
    assert KINDS == {
        Topic.SALES: "sales",
        Topic.INVENTORY: "inventory",
        Topic.PRICES: "events",
        Topic.CUSTOMERS: "events",
    }
    assert set(KINDS) == set(SOURCE_TOPICS)


@pytest.mark.parametrize(
    "path",
    [
        "raw-data/sales/readme.txt",
        PATH.replace(".parquet", ".parquet.tmp"),
        "x/" + PATH,
        PATH.replace("month=03", "month=13"),
        PATH.replace("sales/", "inventory/"),
        PATH.replace("retail-sales-transactions", "retail-restock-alerts"),
        PATH.replace("000249.parquet", "000099.parquet"),
        PATH.replace("-00000000000000000100-", "-99999999999999999999-"),
        PATH.replace(f"-{TOPIC_ID}", ""),
        PATH + "\n",
    ],
)
def test_foreign_path_is_refused(path: str) -> None:
    with pytest.raises(IntegrityError, match="lake object"):
        ObjectName.parse(path)


@pytest.mark.parametrize(
    ("topic", "topic_id", "partition", "first", "last"),
    [
        (Topic.ALERTS, TOPIC_ID, 0, 0, 1),
        (Topic.SALES, "", 0, 0, 1),
        (Topic.SALES, "../x", 0, 0, 1),
        (Topic.SALES, TOPIC_ID, -1, 0, 1),
        (Topic.SALES, TOPIC_ID, 100_000, 0, 1),
        (Topic.SALES, TOPIC_ID, 0, 2, 1),
        (Topic.SALES, TOPIC_ID, 0, -1, 1),
    ],
)
def test_impossible_name_is_refused(
    topic: Topic, topic_id: str, partition: int, first: int, last: int
) -> None:
    with pytest.raises(ConfigError):
        ObjectName(topic, topic_id, partition, first, last, date(2025, 1, 1))
