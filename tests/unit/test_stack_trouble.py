"""What `tillstream status` says of a stream that cannot do its work."""

import json
from pathlib import Path
from typing import Any

import pytest

from tillstream.devstack.parts import stream_trouble
from tillstream.settings import load_settings

RETRYING = {"state": "retrying", "reason": "its disk is full; try: free some space"}
RUNNING = {"state": "running", "reason": ""}


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (
            {"state": "failed", "reason": "ClickHouse refused user 'x'"},
            "ClickHouse refused user 'x'",
        ),
        (
            {"state": "retrying", "queries": {"live": RUNNING, "lake": RETRYING}},
            "lake: its disk is full; try: free some space",
        ),
        ({"state": "running", "queries": {"live": RUNNING, "lake": RUNNING}}, ""),
        ([], ""),
    ],
)
def test_the_streams_own_words_are_shown(tmp_path: Path, report: Any, said: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "stream.json").write_text(json.dumps(report), encoding="utf-8")
    assert stream_trouble(load_settings(home=tmp_path)) == said


def test_a_stream_that_never_ran_has_no_trouble(tmp_path: Path) -> None:
    assert stream_trouble(load_settings(home=tmp_path)) == ""
