"""Results on file: what is skipped, what the table says, and the command's own words."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tillstream.chaos.faults import PAIRS, Action, Pair, Target
from tillstream.chaos.judge import Verdict
from tillstream.chaos.record import (
    append,
    as_dict,
    embedded,
    is_recorded_clean,
    markdown,
    parse_seeds,
    read,
)
from tillstream.chaos.run import Done, Outcome
from tillstream.cli.main import app
from tillstream.errors import ConfigError

DOCS = Path(__file__).resolve().parents[2] / "docs"


def outcome(seed: int, *, commit: str | None = "abc", finding: str = "", **changes: Any) -> Outcome:
    done = Done(Pair(Action.KILL, Target.BROKER), 10.0, 10.2, 1.5, 4.0, True, "kill -9 1")
    skipped = Done(Pair(Action.KILL, Target.LAKE), 20.0, 20.2, 0.0, 0.0, False, "no server")
    values: dict[str, Any] = {
        "seed": seed,
        "commit": commit,
        "minutes": 3.0,
        "rate": 5_000.0,
        "deduplicate": True,
        "steps": [done, skipped],
        "events": {"sent": 9, "records": 1_000, "facts": 990, "duplicates": 8, "quarantine": 2},
        "tables": [Verdict("lake", 1_000, 0, 0, 0, 0, "aa", "aa")],
        "findings": [finding] if finding else [],
        "seconds": {"load": 180.0},
    }
    return Outcome(**(values | changes))


def test_a_result_goes_through_json_and_says_what_was_met() -> None:
    told = json.loads(json.dumps(as_dict(outcome(4))))
    assert told["clean"] is True
    assert told["covered"] == ["kill broker"]
    assert [step["pair"] for step in told["steps"]] == ["kill broker", "kill lake"]
    assert [step["ran"] for step in told["steps"]] == [True, False]
    assert told["tables"][0]["clean"] is True


def test_a_clean_seed_of_this_commit_is_not_run_again(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    append(path, outcome(4))
    append(path, outcome(5, finding="lost"))
    lines = read(path)
    assert is_recorded_clean(lines, seed=4, commit="abc", minutes=3)
    assert not is_recorded_clean(lines, seed=4, commit="abc", minutes=5)
    assert not is_recorded_clean(lines, seed=4, commit="def", minutes=3)
    assert not is_recorded_clean(lines, seed=5, commit="abc", minutes=3)
    assert not is_recorded_clean(lines, seed=4, commit=None, minutes=3)


def test_a_changed_checkout_is_never_taken_as_recorded(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    append(path, outcome(4, commit="abc+"))
    assert not is_recorded_clean(read(path), seed=4, commit="abc+", minutes=3)


def test_the_table_has_a_row_a_commit_and_names_failures_and_unmet_pairs(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    for one in (
        *(outcome(seed) for seed in (1, 2, 3, 7)),
        outcome(2, commit="def", finding="lost", minutes=1.0),
        outcome(9, commit="def", finding="as it should", deduplicate=False),
    ):
        append(path, one)
    table = markdown(read(path)).splitlines()
    assert table[2] == f"| `abc` | 1–3, 7 | 3 | 5000 | 4,000 | 32 | 8 | none | 1 of {len(PAIRS)} |"
    assert table[3] == f"| `def` | 2 | 1 | 5000 | 1,000 | 8 | 2 | 2 | 1 of {len(PAIRS)} |"
    assert len(table) == 6
    assert "kill lake" in table[5]
    assert "kill broker" not in table[5]


def test_the_document_holds_the_table_of_the_record() -> None:
    document = (DOCS / "reliability.md").read_text(encoding="utf-8")
    wanted = embedded(document, markdown(read(DOCS / "chaos.jsonl")))
    assert document == wanted, "run: python tools/reliability_table.py"


def test_a_document_without_marks_is_refused() -> None:
    with pytest.raises(ConfigError, match="lacks the marks"):
        embedded("nothing here", "table")


def test_a_damaged_record_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    path.write_text("{not json\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"record\.jsonl is not a record of chaos"):
        read(path)


@pytest.mark.parametrize(("text", "seeds"), [("7", [7]), ("1-3", [1, 2, 3])])
def test_seeds_are_a_number_or_a_range(text: str, seeds: list[int]) -> None:
    assert list(parse_seeds(text)) == seeds


@pytest.mark.parametrize("text", ["", "a", "3-1", "1-x"])
def test_other_seeds_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_seeds(text)


def test_the_plan_is_printed_and_nothing_runs() -> None:
    done = CliRunner().invoke(app, ["chaos", "--seed", "3", "--minutes", "1", "--plan", "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["steps"][0] == {
        "at_s": 5.0,
        "pair": "kill warehouse",
        "hold_s": 1.2,
    }


def test_an_unknown_action_is_refused_with_those_there_are() -> None:
    done = CliRunner().invoke(app, ["chaos", "--actions", "tickle"])
    assert isinstance(done.exception, ConfigError)
    assert "tickle" in str(done.exception)
    assert "full-disk" in (done.exception.hint or "")
