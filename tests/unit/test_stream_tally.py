"""What is counted of a committed batch."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from streaming.batch import Batch
from streaming.tally import Tally
from tests.builders import AT, judged, moved, refused, sold
from tillstream.cli.stack_view import lag_lines
from tillstream.contracts.topics import Topic


def test_each_record_is_counted_under_its_topic_and_outcome_with_its_wait() -> None:
    rows = judged(
        sold(0),
        sold(1),
        moved(0),
        refused(2),
        refused(3, Topic.INVENTORY, reason="blank_key"),
        refused(4, Topic.INVENTORY, reason="blank_key"),
    )
    batch = Batch.of(rows, lookup=None)
    tally = Tally.of(batch, committed_at_s=(AT + timedelta(seconds=2)).timestamp())
    assert tally.outcomes == {
        (Topic.SALES, "counted"): 2,
        (Topic.INVENTORY, "counted"): 1,
        (Topic.SALES, "refused"): 1,
        (Topic.INVENTORY, "refused"): 2,
    }
    assert tally.reasons == {"bad_magic_byte": 1, "blank_key": 2}
    # The builders' records arrive a millisecond an offset.
    assert np.sort(tally.latency_s) == pytest.approx([1.996, 1.997, 1.998, 1.999, 2.0, 2.0])


def test_a_broker_whose_clock_is_ahead_makes_no_negative_wait() -> None:
    batch = Batch.of(judged(sold(0)), lookup=None)
    early = Tally.of(batch, committed_at_s=(AT - timedelta(minutes=1)).timestamp())
    assert early.latency_s.tolist() == [0.0]


def test_an_empty_batch_holds_nothing() -> None:
    batch = Batch.of(judged(sold(0)).slice(0, 0), lookup=None)
    tally = Tally.of(batch)
    assert (tally.outcomes, tally.reasons, len(tally.latency_s)) == ({}, {}, 0)


def test_status_says_when_nothing_will_wait() -> None:
    said: dict[str, dict[str, Any]] = {
        "live": {"records": 0, "catch_up_s": 0.0},
        "lake": {"records": 1_234_567, "catch_up_s": 185.2},
        "other": {"records": 9, "catch_up_s": None},
    }
    lines = [" ".join(line.split()) for line in lag_lines(said)]
    assert lines == [
        "live 0 records waiting [green]keeping up[/]",
        "lake 1,234,567 records waiting [yellow]caught up in about 3 min 05 s[/]",
        "other 9 records waiting [bold red]falling behind[/]",
    ]
