"""Logs of several parts, past and growing."""

from pathlib import Path

from tillstream.devstack.logs import follow, recent
from tillstream.devstack.process import log_file


def test_recent_lines_carry_their_part(tmp_path: Path) -> None:
    for name in ("kafka", "stream"):
        log_file(tmp_path, name).parent.mkdir(exist_ok=True)
        log_file(tmp_path, name).write_text(f"{name} one\n{name} two\n")
    assert list(recent(tmp_path, ["kafka", "stream", "none"], lines=1)) == [
        ("kafka", "kafka two"),
        ("stream", "stream two"),
    ]


def test_follow_gives_whole_new_lines_also_after_rotation(tmp_path: Path) -> None:
    log = log_file(tmp_path, "kafka")
    log.parent.mkdir()
    log.write_text("old\n")
    lines = follow(tmp_path, ["kafka"])
    with log.open("a") as file:
        file.write("new\nhal")
        file.flush()
        assert next(lines) == ("kafka", "new")
        file.write("f\n")
    assert next(lines) == ("kafka", "half")
    log.replace(log.with_suffix(".log.1"))
    log.write_text("x\n")
    assert next(lines) == ("kafka", "x")
