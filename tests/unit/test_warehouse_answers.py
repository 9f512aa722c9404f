"""Parts of an answer: Native framing, block compression, error frames, and who may run when."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tillstream.devstack.warehouse.admission import Admission
from tillstream.devstack.warehouse.answer import exception_frame
from tillstream.devstack.warehouse.blocks import BlockDeflater, decompress_blocks
from tillstream.devstack.warehouse.config import write_config
from tillstream.devstack.warehouse.descriptors import infile, outfile, without_descriptors
from tillstream.devstack.warehouse.errors import QueryError
from tillstream.devstack.warehouse.identity import with_own_ids
from tillstream.devstack.warehouse.native import NativeFramer
from tillstream.devstack.warehouse.outlet import Pipe
from tillstream.devstack.warehouse.statement import read_statement


def name(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def block(rows: int, *columns: tuple[str, str, bytes]) -> bytes:
    parts = [bytes([len(columns), rows])]
    parts += [name(title) + name(kind) + data for title, kind, data in columns]
    return b"".join(parts)


def framed(rows: int, *columns: tuple[str, str, bytes]) -> bytes:
    parts = [b"\x01\x00\x02\xff\xff\xff\xff\x00", bytes([len(columns), rows])]
    parts += [name(title) + name(kind) + b"\x00" + data for title, kind, data in columns]
    return b"".join(parts)


def u64(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(8, "little") for number in numbers)


COLUMNS = [
    ("n", "UInt32", bytes(8)),
    ("s", "String", b"\x02ab" + b"\xac\x02" + b"x" * 300),
    ("d", "Decimal(18, 4)", bytes(16)),
    ("t", "DateTime64(3, 'UTC')", bytes(16)),
    ("f", "FixedString(3)", b"abcdef"),
    ("o", "Nullable(Int8)", b"\x01\x00\x00\x07"),
    ("a", "Array(Array(String))", u64(1, 2) + u64(0, 1) + b"\x01z"),
    ("m", "Map(String, UInt8)", u64(1, 1) + b"\x01k" + b"\x05"),
    ("u", "Tuple(x UInt8, `y z` String)", b"\x01\x02" + b"\x00\x01q"),
    ("e", "Enum8('(' = 1, 'b' = 2)", b"\x01\x02"),
    ("g", "SimpleAggregateFunction(sum, Int64)", bytes(16)),
    (
        "l",
        "LowCardinality(Nullable(String))",
        u64(1) + u64(0x600) + u64(2) + b"\x00\x01v" + u64(2) + b"\x00\x01",
    ),
]


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_every_block_gets_a_block_info_and_every_column_a_byte(size: int) -> None:
    stream = block(2, *COLUMNS) + block(0, ("n", "UInt32", b"")) + block(2, *COLUMNS)
    framer = NativeFramer()
    pieces = [framer.compress(stream[at : at + size]) for at in range(0, len(stream), size)]
    expected = framed(2, *COLUMNS) + framed(0, ("n", "UInt32", b"")) + framed(2, *COLUMNS)
    assert b"".join(pieces) + framer.flush() == expected


def test_a_type_that_cannot_be_framed_is_named() -> None:
    with pytest.raises(QueryError, match=r"JSON cannot be sent") as refused:
        NativeFramer().compress(block(1, ("j", "JSON", b"")))
    assert refused.value.code == 48


def test_blocks_are_those_of_clickhouse() -> None:
    pytest.importorskip("clickhouse_cityhash")
    deflater = BlockDeflater()
    packed = deflater.compress(b"1\n") + deflater.flush()
    # As a server answers SELECT 1 with compress=1.
    assert packed.hex() == "de79cf087fb635049db816df195b016b820c0000000200000020310a"
    assert list(decompress_blocks([packed[:20], packed[20:]])) == [b"1\n"]


def test_blocks_of_any_size_and_cut_and_broken_ones() -> None:
    pytest.importorskip("clickhouse_cityhash")
    data = bytes(range(256)) * 10_000
    deflater = BlockDeflater()
    packed = deflater.compress(data) + deflater.flush()
    assert len(packed) < len(data) / 10
    pieces = [packed[at : at + 999] for at in range(0, len(packed), 999)]
    assert b"".join(decompress_blocks(pieces)) == data
    for broken, code in ((packed[:-1], 271), (packed[:30] + b"\xff" + packed[31:], 40)):
        with pytest.raises(QueryError) as refused:
            list(decompress_blocks([broken]))
        assert refused.value.code == code


def test_blocks_without_their_library_are_refused_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "clickhouse_cityhash.cityhash", None)
    with pytest.raises(QueryError, match="clickhouse-cityhash") as refused:
        BlockDeflater()
    assert refused.value.status == 501


def test_an_error_inside_an_answer_is_framed_by_its_tag() -> None:
    assert exception_frame("Code: 1. é\n", "abcdefghijklmnop") == (
        b"\r\n__exception__\r\nabcdefghijklmnop\r\nCode: 1. \xc3\xa9\n"
        b"12 abcdefghijklmnop\r\n__exception__\r\n"
    )
    assert len(exception_frame("x" * 100_000, "abcdefghijklmnop")) <= 16 << 10


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1", "SELECT 1<FORMAT>"),
        ("SELECT 1 FORMAT JSON", "SELECT 1 <>FORMAT JSON"),
        ("SELECT 1 FORMAT JSON SETTINGS a = 1;", "SELECT 1 <>FORMAT JSON SETTINGS a = 1;"),
        ("SELECT 1 SETTINGS a = 1 ; -- end", "SELECT 1 SETTINGS a = 1<FORMAT> ; -- end"),
        ("(SELECT 1) UNION ALL (SELECT 2)", "(SELECT 1) UNION ALL (SELECT 2)<FORMAT>"),
        ("SELECT 'FORMAT x' -- FORMAT y", "SELECT 'FORMAT x'<FORMAT> -- FORMAT y"),
    ],
)
def test_output_goes_before_the_format_and_can_be_taken_out_again(sql: str, expected: str) -> None:
    statement = read_statement(sql.encode())
    at = statement.format_start
    clause = outfile(7, None if statement.output_format else "CSV")
    changed = sql[:at] + clause + sql[at:]
    shown = changed.replace(outfile(7, "CSV"), "<FORMAT>").replace(outfile(7, None), "<>")
    assert shown == expected
    assert without_descriptors(changed) == sql


def test_input_can_be_taken_out_again() -> None:
    assert without_descriptors(f"INSERT INTO t {infile(9)}FORMAT TSV") == "INSERT INTO t FORMAT TSV"


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("KILL QUERY WHERE query_id = 'query_id'",
         "KILL QUERY WHERE Settings['log_comment'] = 'query_id'"),
        ("SELECT query_id FROM t", "SELECT query_id FROM t"),
        ("SELECT 'system.processes'", "SELECT 'system.processes'"),
        ("SELECT * FROM processes", "SELECT * FROM processes"),
    ],
)  # fmt: skip
def test_own_ids_stand_where_the_engine_has_others(sql: str, expected: str) -> None:
    assert with_own_ids(sql, read_statement(sql.encode())) == expected


def test_processes_are_read_through_a_query() -> None:
    sql = "SELECT p.query_id FROM system.processes AS p"
    changed = with_own_ids(sql, read_statement(sql.encode()))
    assert changed.startswith("SELECT p.query_id FROM (SELECT * REPLACE (Settings['log_comment']")
    assert changed.endswith("FROM system.processes) AS p")


def test_too_many_queries_and_equal_ids_are_refused() -> None:
    admission = Admission(reads_at_once=1, writes_at_once=1, at_most=2)
    admission.enter("a")
    with pytest.raises(QueryError) as twice:
        admission.enter("a")
    admission.enter("b")
    with pytest.raises(QueryError, match="Maximum: 2") as many:
        admission.enter("c")
    assert (twice.value.code, many.value.code) == (216, 202)
    admission.leave("a")
    admission.enter("c")


@pytest.mark.asyncio
async def test_reads_take_turns_and_writes_do_not_wait_for_them() -> None:
    admission = Admission(reads_at_once=1, writes_at_once=1, at_most=10)
    order: list[str] = []

    async def run(name: str, *, urgent: bool) -> None:
        async with admission.turn(urgent=urgent):
            order.append(name)

    async with admission.turn(urgent=False) as first:
        waiting = [asyncio.ensure_future(run(f"read {n}", urgent=False)) for n in range(3)]
        await run("write", urgent=True)
        assert order == ["write"]
        first.give_back()
        await asyncio.gather(*waiting)
    assert order == ["write", "read 0", "read 1", "read 2"]


@pytest.mark.asyncio
async def test_a_pipe_yields_what_was_written_until_the_end() -> None:
    pipe = Pipe()

    def write() -> None:
        os.write(pipe.descriptor, b"x" * 3_000_000)
        pipe.finish()

    writing = asyncio.get_running_loop().run_in_executor(None, write)
    got = 0
    while chunk := await pipe.read():
        got += len(chunk)
    await writing
    pipe.close()
    assert got == 3_000_000


def test_the_engine_is_told_its_memory(tmp_path: Path) -> None:
    path = tmp_path / "engine.xml"
    write_config(path, memory_mb=1024)
    text = path.read_text()
    assert "<max_server_memory_usage>1073741824</max_server_memory_usage>" in text
    assert "<mark_cache_size>134217728</mark_cache_size>" in text
