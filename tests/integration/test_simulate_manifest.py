"""A manifest of faults against the tables: silent when each is in its place, precise when not."""

from collections.abc import Iterator

import pyarrow as pa
import pytest

from clickhouse.client import Client
from simulators.world.truth import SCHEMAS
from streaming.sinks import WarehouseSink
from tests.builders import INVENTORY_ID, SALES_ID, TOPIC_IDS, decoded, moved, refused, sold
from tests.fixtures.warehouse import WarehouseProcess, own_client
from tillstream.audit.manifest import check_manifest
from tillstream.contracts.topics import Topic

pytestmark = pytest.mark.integration

# Offset 6 is refused, 7 is sale 0 once more.
ROWS = (*(sold(offset) for offset in range(6)), refused(6), sold(7, "sale-0-0"), moved(0))
IDS = {Topic.SALES.value: str(SALES_ID), Topic.INVENTORY.value: str(INVENTORY_ID)}


@pytest.fixture
def client(warehouse_server: WarehouseProcess) -> Iterator[Client]:
    with own_client(warehouse_server, "manifest") as client:
        sink = WarehouseSink(client)
        sink.open()
        sink.write(decoded(*ROWS), TOPIC_IDS, batch_id=0)
        sink.close()
        yield client


def manifest(*rows: tuple[str, str, int]) -> pa.Table:
    """(topic, expected, offset) of partition 0."""
    return pa.Table.from_pylist(
        [
            {
                "kind": "some",
                "expected": expected,
                "topic": topic,
                "partition": 0,
                "offset": offset,
                "identity": "",
                "store_id": "",
                "event_time": 0,
            }
            for topic, expected, offset in rows
        ],
        schema=SCHEMAS["faults"],
    )


def reason_of(client: Client) -> str:
    return str(client.query("SELECT reason FROM quarantine").result_rows[0][0])


def test_faults_in_their_places_are_clean(client: Client) -> None:
    check = check_manifest(
        client,
        manifest(
            (Topic.SALES, "counted", 3),
            (Topic.SALES, "duplicate", 7),
            (Topic.SALES, reason_of(client), 6),
            (Topic.INVENTORY, "counted", 0),
        ),
        IDS,
    )
    assert (check.compared, check.disagreeing) == (4, 0)
    assert check_manifest(client, manifest(), IDS).clean


def test_a_fault_elsewhere_is_told_with_its_place(client: Client) -> None:
    check = check_manifest(
        client,
        manifest(
            (Topic.SALES, "duplicate", 3),
            (Topic.SALES, "counted", 7),
            (Topic.SALES, "some_other_reason", 6),
            (Topic.SALES, "counted", 99),
        ),
        IDS,
    )
    assert check.disagreeing == 4
    told = [finding.detail for finding in check.findings]
    topic = Topic.SALES.value
    assert told == [
        f"{topic}-0 offset 3 (some): expected duplicate, is in fact_sales",
        f"{topic}-0 offset 7 (some): expected counted, is in duplicates",
        f"{topic}-0 offset 6 (some): expected some_other_reason, "
        f"is in quarantine {reason_of(client)}",
        f"{topic}-0 offset 99 (some): expected counted, is in no table",
    ]
