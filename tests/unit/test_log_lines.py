"""The stream's log lines, for people and for programs."""

import json
import logging
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from tillstream.settings import (
    LogSettings,
    RegistrySettings,
    Settings,
    WarehouseSettings,
    load_settings,
)
from tillstream.telemetry.logs import configure_logging, fields, secrets_of

SECRET = 'pa"ss\\word-é'


@pytest.fixture(autouse=True)
def _root_logger_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def settings(home: Path, log: LogSettings) -> Settings:
    return load_settings(
        home=home,
        log=log,
        customer_key=SecretStr("customer-key-of-test"),
        warehouse=WarehouseSettings(password=SecretStr(SECRET)),
        registry=RegistrySettings(password=SecretStr("test")),
    )


def test_json_lines_carry_fields_and_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(settings(tmp_path, LogSettings(format="json")))
    log = logging.getLogger("tillstream.stream")
    log.info("live batch %d", 7, extra=fields(correlation="live-7", offsets=["sales-0:3-9"]))
    try:
        raise ValueError("no such table")
    except ValueError:
        log.exception("it broke")
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (first["level"], first["logger"], first["message"]) == (
        *("INFO", "tillstream.stream", "live batch 7"),
    )
    assert (first["correlation"], first["offsets"]) == ("live-7", ["sales-0:3-9"])
    assert datetime.fromisoformat(first["time"]).tzinfo is not None
    assert second["error"].endswith("ValueError: no such table")


@pytest.mark.parametrize("log", [LogSettings(format="json"), LogSettings()])
def test_no_line_holds_a_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], log: LogSettings
) -> None:
    chosen = settings(tmp_path, log)
    # Four letters are too few to tell a secret from a word.
    assert set(secrets_of(chosen)) == {SECRET, "customer-key-of-test"}
    configure_logging(chosen)
    stream = logging.getLogger("tillstream.stream")
    stream.warning("refused %r", f"user:{SECRET}@broker test", extra=fields(key=SECRET))
    try:
        raise OSError(f"cannot log in with {SECRET} and customer-key-of-test")
    except OSError:
        stream.exception("login failed")
    said = capsys.readouterr().err
    assert "ss\\word" not in said
    assert "ss\\\\word" not in said
    assert "customer-key-of-test" not in said
    assert "***" in said
    assert "broker test" in said


def test_text_is_for_people_and_libraries_are_quiet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(settings(tmp_path, LogSettings()))
    logging.getLogger("kafka.conn").info("connecting")
    logging.getLogger("tillstream.stream").info("live starts", extra=fields(offsets=["sales-0:1"]))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(" INFO tillstream.stream live starts")
