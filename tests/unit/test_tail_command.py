"""`tillstream tail`: what it shows of good and of bad records."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from producers.records import RawRecord
from tests.contracts_suite.events import AT_MS, quarantined, sale
from tests.contracts_suite.publisher import CODEC
from tillstream.cli.tail import ALIASES, as_document, as_line, register, resolve_topic
from tillstream.contracts.topics import Topic
from tillstream.errors import ConfigError, ServiceError
from tillstream.settings import KafkaSettings, load_settings


def raw(value: bytes | None, topic: Topic = Topic.SALES) -> RawRecord:
    return RawRecord(topic.value, 1, 42, AT_MS + 7, b"304", value)


def test_every_topic_has_an_alias_and_its_full_name() -> None:
    assert set(ALIASES.values()) == set(Topic)
    assert resolve_topic("sales") == resolve_topic("retail-sales-transactions") == Topic.SALES


def test_an_unknown_topic_is_answered_with_all_of_them() -> None:
    with pytest.raises(ConfigError, match="unknown topic 'shoes'") as caught:
        resolve_topic("shoes")
    hint = caught.value.hint or ""
    assert all(alias in hint and topic in hint for alias, topic in ALIASES.items())


def test_a_document_has_the_event_and_its_place() -> None:
    document = as_document(CODEC, raw(CODEC.encode(Topic.SALES, sale())))
    assert document == {
        "topic": "retail-sales-transactions",
        "partition": 1,
        "offset": 42,
        "arrival": AT_MS + 7,
        "key": "304",
        "version": 2,
        "event": sale(),
    }


def test_an_undecodable_record_is_shown_with_its_reason_and_first_bytes() -> None:
    document = as_document(CODEC, raw(b"\x01abc"))
    assert document["error"] == ("retail-sales-transactions: wrong magic byte 0x01, expected 0x00")
    assert (document["bytes"], document["offset"]) == ("01 61 62 63", 42)
    assert as_line(CODEC, raw(b"\x01abc")).endswith(
        "wrong magic byte 0x01, expected 0x00 [dim](4 bytes: 01 61 62 63)[/]"
    )
    assert "empty value" in as_line(CODEC, raw(None))


def test_a_line_is_readable_and_cannot_be_styled_by_an_event() -> None:
    event = sale(payment_method="[red]\x1b[31mcash", customer_id=None)
    line = as_line(CODEC, raw(CODEC.encode(Topic.SALES, event)))
    assert line.startswith("[dim]2017-11-20 00:00:00.007Z 1:42[/] ")
    assert "line_amount=[/]3.5800" in line
    assert "\\[red]\\x1b[31mcash" in line
    assert "\x1b" not in line
    assert "customer_id" not in line


def test_the_command_says_what_is_wrong_with_its_options(tmp_path: Path) -> None:
    app = typer.Typer()
    register(app)
    app.command("other")(lambda: None)
    settings = load_settings(home=tmp_path, kafka=KafkaSettings(bootstrap="127.0.0.1:1"))
    run = CliRunner()

    def failure(*args: str) -> BaseException | None:
        return run.invoke(app, ["tail", *args], obj=settings).exception

    for args, said in [
        (("sales", "--offset", "3"), "--offset is a place in one partition"),
        (("sales", "--offset", "3", "--partition", "0", "--from-beginning"), "two different"),
        (("shoes",), "unknown topic 'shoes'"),
    ]:
        problem = failure(*args)
        assert isinstance(problem, ConfigError)
        assert said in str(problem)
    assert isinstance(failure("sales"), ServiceError)


def test_json_keeps_money_exact_and_bytes_in_hex() -> None:
    from tillstream.cli.tail import _plain

    documents = [
        as_document(CODEC, raw(CODEC.encode(Topic.SALES, sale()))),
        as_document(CODEC, raw(CODEC.encode(Topic.QUARANTINE, quarantined()), Topic.QUARANTINE)),
    ]
    first, second = (json.loads(json.dumps(d, default=_plain))["event"] for d in documents)
    assert first["line_amount"] == "3.5800"
    assert second["value"] == "01616263"
