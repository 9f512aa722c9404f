"""The ledger: what survives a crash, and how it is read back."""

import json
import threading
from pathlib import Path

import pytest

from simulators.ledger import Ledger, read_ledgers
from tillstream.errors import ConfigError, IntegrityError

SALES = "retail-sales-transactions"
PRICES = "retail-price-changes"


def rows(*paths: Path) -> list[tuple[str, str, int, int]]:
    return [tuple(row.values()) for row in read_ledgers(paths).to_pylist()]


def test_counts_attempts_and_acknowledgements_of_each_event(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "one.jsonl"
    with Ledger.create(path) as ledger:
        for identity in ("b", "a", "b"):
            ledger.attempted(SALES, identity)
        ledger.attempted(PRICES, "a")
        ledger.acknowledged(SALES, "b", 2, 17)
        ledger.failed(SALES, "a", "timed out")

    assert rows(path) == [(PRICES, "a", 1, 0), (SALES, "a", 1, 0), (SALES, "b", 2, 1)]


def test_several_ledgers_are_added_up(tmp_path: Path) -> None:
    paths = [tmp_path / "1.jsonl", tmp_path / "2.jsonl"]
    for path in paths:
        with Ledger.create(path) as ledger:
            ledger.attempted(SALES, "x")
            ledger.acknowledged(SALES, "x", 0, 1)

    assert rows(*paths) == [(SALES, "x", 2, 2)]


def test_no_ledgers_and_an_empty_one_give_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "empty.jsonl"
    Ledger.create(path).close()

    assert rows() == []
    assert read_ledgers([path]).schema.names == ["topic", "identity", "attempts", "acknowledged"]
    assert rows(path) == []


def test_every_line_is_json_with_coordinates_and_reasons(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    with Ledger.create(path) as ledger:
        ledger.acknowledged(SALES, 'quote " and \\ and é', 1, 2)
        ledger.failed(SALES, "x", "two\nlines")

    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert first == {"e": "acknowledged", "t": SALES, "i": 'quote " and \\ and é', "p": 1, "o": 2}
    assert second == {"e": "failed", "t": SALES, "i": "x", "r": "two\nlines"}


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    with Ledger.create(path) as ledger:
        ledger.attempted(SALES, "whole")
        ledger.attempted(SALES, "torn")
    path.write_bytes(path.read_bytes()[:-9])

    assert rows(path) == [(SALES, "whole", 1, 0)]


@pytest.mark.parametrize("damage", [b"not json\n", b'{"e":"attempted","t":"x"}\n', b"7\n"])
def test_damage_before_the_end_is_reported(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "l.jsonl"
    with Ledger.create(path) as ledger:
        ledger.attempted(SALES, "a")
    path.write_bytes(damage + path.read_bytes())

    with pytest.raises(IntegrityError, match=r"l\.jsonl"):
        read_ledgers([path])


def test_a_missing_ledger_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.jsonl"):
        read_ledgers([tmp_path / "gone.jsonl"])


def test_a_ledger_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    with Ledger.create(path) as ledger:
        ledger.attempted(SALES, "kept")

    with pytest.raises(ConfigError, match="already exists"):
        Ledger.create(path)
    assert rows(path) == [(SALES, "kept", 1, 0)]


def test_flushed_lines_are_in_the_file_before_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    with Ledger.create(path) as ledger:
        ledger.attempted(SALES, "a")
        assert path.read_bytes() == b""
        ledger.flush()
        assert rows(path) == [(SALES, "a", 1, 0)]


def test_threads_do_not_tear_each_others_lines(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    threads_of = 4
    with Ledger.create(path) as ledger:

        def write(thread: int) -> None:
            for number in range(3_000):
                ledger.attempted(SALES, f"{thread}-{number}")
                ledger.acknowledged(SALES, f"{thread}-{number}", thread, number)

        threads = [threading.Thread(target=write, args=(each,)) for each in range(threads_of)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    table = read_ledgers([path])
    assert table.num_rows == threads_of * 3_000
    assert set(table["attempts"].to_pylist()) == {1}
    assert set(table["acknowledged"].to_pylist()) == {1}
