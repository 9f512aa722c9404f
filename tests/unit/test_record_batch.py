"""Record batches, read back by kafka-python."""

from hypothesis import given
from hypothesis import strategies as st
from kafka.record.default_records import DefaultRecordBatch

from producers.record_batch import record_batch


@given(st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=300)), min_size=1, max_size=80))
def test_a_batch_reads_back_as_it_was_written(rows: list[tuple[bytes, bytes]]) -> None:
    data = record_batch(
        [key for key, _ in rows],
        [value for _, value in rows],
        producer_id=7,
        producer_epoch=1,
        base_sequence=90,
    )
    batch = DefaultRecordBatch(data)
    assert batch.validate_crc()
    assert (batch.producer_id, batch.producer_epoch, batch.base_sequence) == (7, 1, 90)
    assert batch.last_offset_delta == len(rows) - 1
    read = [(record.key, record.value, record.offset) for record in batch]
    assert read == [(key, value, number) for number, (key, value) in enumerate(rows)]
