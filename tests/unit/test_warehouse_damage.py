"""Which errors of the engine name a part that cannot be read."""

import pytest

from tillstream.devstack.warehouse.damage import DamagedPart, damaged_part
from tillstream.devstack.warehouse.errors import QueryError, parse_engine_error

_UUID = "e850558f-5886-43b6-9e5d-a275f08cbfac"
_PATH = f"/home/store/e85/{_UUID}/202611_1_55_4"


def engine_words(table: str, *, code: int = 246) -> str:
    return (
        f"Code: {code}. DB::Exception: Empty marks file '{_PATH}/data.cmrk4': 0, must be: 144: "
        f"(while reading from part {_PATH}/ in table {table} ({_UUID}) located on disk default of "
        "type local, from mark 0 with max_rows_to_read = 5000): While executing "
        "MergeTreeSelect(pool: ReadPool, algorithm: Thread). (CORRUPTED_DATA)"
    )


@pytest.mark.parametrize(
    "table", ["tillstream.velocity_5m_sums", "default.`odd name`", "`it's`.`a\\`b (c)`"]
)
def test_part_and_table_are_read_from_the_engines_words(table: str) -> None:
    part = damaged_part(parse_engine_error(engine_words(table)))
    assert part == DamagedPart(table, _PATH)
    assert part.name == "202611_1_55_4"
    assert part.folder == f"/home/store/e85/{_UUID}/"


def test_a_projection_goes_with_the_part_that_it_lies_in() -> None:
    words = engine_words("tillstream.fact_sales").replace(
        f"part {_PATH}/", f"part {_PATH}/days.proj/"
    )
    assert damaged_part(parse_engine_error(words)) == DamagedPart("tillstream.fact_sales", _PATH)


@pytest.mark.parametrize(
    "error",
    [
        parse_engine_error(engine_words("a.b", code=241)),
        QueryError(246, "Empty marks file '/x/data.cmrk4'"),
        QueryError(40, "Checksum doesn't match: the request's body is corrupted"),
    ],
    ids=["out of memory while reading", "no part named", "a damaged request"],
)
def test_other_troubles_are_no_reason_to_load_a_table_again(error: QueryError) -> None:
    assert damaged_part(error) is None
