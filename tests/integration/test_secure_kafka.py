"""Kafka with TLS, logins and access rules: who gets in, who may what, how a refusal is told."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from producers.access import apply_rules, load_rules
from producers.connection import require_reachable
from producers.kafka_publisher import KafkaPublisher
from producers.reader import read_at, read_records
from producers.topics import TopicInspector, ensure_topics, offset_ranges
from tests.contracts_suite.events import sale
from tests.contracts_suite.publisher import CODEC, CUSTOMER_KEY
from tests.fixtures.certificates import Authority
from tests.fixtures.kafka_secure import ADMIN, SecureKafka
from tillstream import endpoints
from tillstream.cli.main import app
from tillstream.contracts.topics import SOURCE_TOPICS, Topic
from tillstream.errors import ConfigError, ServiceError
from tillstream.settings import KafkaSettings

pytestmark = [
    pytest.mark.integration,
    # kafka-python drops the sockets of connections that were refused without closing them.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:unclosed <s:ResourceWarning"),
]

RULES = Path(__file__).resolve().parents[2] / "deploy/kafka/acls.yaml"
SIMULATOR, STREAM, AUDIT = "tillstream-simulator", "tillstream-stream", "tillstream-audit"

ALERT = {
    "alert_id": "a",
    "version": 1,
    "store_id": "1",
    "product_id": "p",
    "state": "opened",
    "risk": 0.9,
    "on_hand": 1,
    "explanation": "because",
    "timestamp": 1_700_000_000_000,
}


@pytest.fixture(scope="module")
def guarded(secure_kafka: SecureKafka) -> SecureKafka:
    """The broker with our topics and access rules, made by the users who may."""
    apply_rules(secure_kafka.user(ADMIN), load_rules(RULES))
    ensure_topics(secure_kafka.user("tillstream-provisioner"))
    return secure_kafka


@contextmanager
def publisher(kafka: KafkaSettings) -> Iterator[KafkaPublisher]:
    with KafkaPublisher(kafka, CODEC, customer_key=CUSTOMER_KEY) as one:
        yield one


def publish(kafka: KafkaSettings, topic: Topic, event: Mapping[str, object]) -> None:
    with publisher(kafka) as one:
        one.publish(topic, event)


def test_a_store_publishes_over_tls_and_the_stream_reads_it(guarded: SecureKafka) -> None:
    stream = guarded.user(STREAM)
    before = {place: end for place, (_, end) in offset_ranges(stream, [Topic.SALES]).items()}
    publish(guarded.user(SIMULATOR), Topic.SALES, sale())
    start = {partition: end for (_, partition), end in before.items()}
    (record,) = read_records(stream, Topic.SALES, start=start)
    assert record.key == sale()["store_id"].encode()
    place = (record.topic, record.partition, record.offset)
    assert read_at(stream, [place]) == {place: record}
    with closing(TopicInspector(stream)) as inspector:
        assert set(inspector.topic_ids(SOURCE_TOPICS)) == set(SOURCE_TOPICS)


def test_the_stream_writes_alerts_and_may_not_forge_a_sale(guarded: SecureKafka) -> None:
    stream = guarded.user(STREAM)
    publish(stream, Topic.ALERTS, ALERT)
    assert sum(end for _, end in offset_ranges(guarded.user(AUDIT), [Topic.ALERTS]).values()) > 0
    with pytest.raises(ServiceError) as caught:
        publish(stream, Topic.SALES, sale())
    assert str(caught.value) == (
        f"Kafka at {guarded.bootstrap}: user 'tillstream-stream' may not publish "
        "(retail-sales-transactions): no access rule allows it"
    )
    assert "TILLSTREAM_KAFKA__USERNAME" in (caught.value.hint or "")
    assert "provision --acls" in (caught.value.hint or "")


def test_a_store_may_not_read_what_stores_sell(guarded: SecureKafka) -> None:
    with pytest.raises(ServiceError) as caught:
        list(read_records(guarded.user(SIMULATOR), Topic.SALES, start={0: 0, 1: 0, 2: 0}))
    assert str(caught.value) == (
        f"Kafka at {guarded.bootstrap}: user 'tillstream-simulator' may not read "
        "retail-sales-transactions: no access rule allows it"
    )


def test_a_user_without_rules_sees_no_topic(guarded: SecureKafka) -> None:
    with pytest.raises(ServiceError, match=r"'nobody' may not describe topics \(retail-sales"):
        offset_ranges(guarded.user("nobody"), [Topic.SALES])
    with pytest.raises(ServiceError, match=r"'tillstream-stream' may not .*retail-alert-actions"):
        ensure_topics(guarded.user(STREAM))


def test_rules_are_applied_by_command_and_only_the_missing_ones(
    guarded: SecureKafka, tmp_path: Path
) -> None:
    admin = guarded.user(ADMIN)
    assert admin.password is not None
    environment = {
        "TILLSTREAM_KAFKA__BOOTSTRAP": admin.bootstrap,
        "TILLSTREAM_KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
        "TILLSTREAM_KAFKA__USERNAME": ADMIN,
        "TILLSTREAM_KAFKA__PASSWORD": admin.password.get_secret_value(),
        "TILLSTREAM_KAFKA__CA_FILE": str(admin.ca_file),
    }

    def run(text: str) -> str:
        (tmp_path / "rules.yaml").write_text(text, encoding="utf-8")
        arguments = ["--home", str(tmp_path), "provision", "--acls", str(tmp_path / "rules.yaml")]
        result = CliRunner().invoke(app, arguments, env=environment)
        assert result.exit_code == 0, result.output
        return result.output

    assert run("extra: {read: [retail-*]}") == (
        "added: extra may read retail-*\n1 access rules are in force\n"
    )
    assert run("extra: {read: [retail-*]}") == "1 access rules are in force\n"
    assert run("extra: {write: [t]}") == (
        "added: extra may write t\n"
        "extra may read retail-*, which the file does not say; left as it is\n"
        "1 access rules are in force\n"
    )


def test_only_an_administrator_applies_rules(guarded: SecureKafka, kafka_broker: object) -> None:
    with pytest.raises(ServiceError, match="'tillstream-stream' may not change access rules"):
        apply_rules(guarded.user(STREAM), load_rules(RULES))


Wrong = Callable[[SecureKafka, Path], KafkaSettings]


def stream_with(**changes: object) -> Wrong:
    """The stream's settings, but for `changes`."""
    return lambda kafka, _: kafka.user(STREAM).model_copy(update=changes)


# What is wrong -> what is said -> the setting that is named.
REFUSALS: dict[str, tuple[Wrong, str, str]] = {
    "password": (
        stream_with(password=SecretStr("guess")),
        "it refused user 'tillstream-stream': unknown, or another password",
        "TILLSTREAM_KAFKA__PASSWORD",
    ),
    "user": (
        stream_with(username="ghost"),
        "it refused user 'ghost': unknown, or another password",
        "TILLSTREAM_KAFKA__USERNAME",
    ),
    "mechanism": (
        stream_with(sasl_mechanism="PLAIN"),
        "it does not take PLAIN, but SCRAM-SHA-512",
        "TILLSTREAM_KAFKA__SASL_MECHANISM",
    ),
    "host": (
        stream_with(bootstrap="no.invalid:9093"),
        "no machine is called no.invalid",
        "TILLSTREAM_KAFKA__BOOTSTRAP",
    ),
    "port": (
        stream_with(bootstrap="127.0.0.1:1"),
        "connection refused",
        "TILLSTREAM_KAFKA__BOOTSTRAP",
    ),
    "address": (
        stream_with(bootstrap="broker"),
        "'broker' is not host:port",
        "TILLSTREAM_KAFKA__BOOTSTRAP",
    ),
    "plain text to a TLS port": (
        lambda kafka, _: KafkaSettings(bootstrap=kafka.bootstrap),
        "it speaks TLS, and the settings say plain text",
        "TILLSTREAM_KAFKA__SECURITY_PROTOCOL",
    ),
    "TLS to a plain text port": (
        lambda kafka, _: kafka.user(STREAM).model_copy(update={"bootstrap": kafka.open_bootstrap}),
        "it does not speak TLS",
        "TILLSTREAM_KAFKA__SECURITY_PROTOCOL",
    ),
    "TLS without a login": (
        lambda kafka, _: KafkaSettings(
            bootstrap=kafka.bootstrap, security_protocol="SSL", ca_file=kafka.authority.ca_file
        ),
        "it asks for a user and password",
        "TILLSTREAM_KAFKA__SECURITY_PROTOCOL to SASL_SSL",
    ),
    "login where none is taken": (
        lambda kafka, _: KafkaSettings(
            bootstrap=kafka.open_bootstrap,
            security_protocol="SASL_PLAINTEXT",
            username="u",
            password=SecretStr("p"),
        ),
        "this listener takes no user and password",
        "TILLSTREAM_KAFKA__SECURITY_PROTOCOL to PLAINTEXT",
    ),
    "expired certificate": (
        lambda kafka, _: kafka.user(STREAM).model_copy(
            update={"bootstrap": kafka.expired_bootstrap}
        ),
        "its certificate has expired",
        "renew the server's certificate",
    ),
    "unknown authority": (
        lambda kafka, folder: kafka.user(STREAM).model_copy(
            update={"ca_file": Authority(folder).ca_file}
        ),
        "its certificate is not trusted by the authority in",
        "TILLSTREAM_KAFKA__CA_FILE",
    ),
    "no authority": (
        stream_with(ca_file=None),
        "its certificate is not trusted by the system",
        "TILLSTREAM_KAFKA__CA_FILE",
    ),
    "another name": (
        lambda kafka, _: kafka.user(STREAM).model_copy(
            update={"bootstrap": kafka.bootstrap.replace("127.0.0.1", "localhost")}
        ),
        "its certificate is not for localhost",
        "TILLSTREAM_KAFKA__BOOTSTRAP",
    ),
}


@pytest.mark.parametrize("wrong", REFUSALS)
def test_a_wrong_setting_is_told_in_one_sentence(
    secure_kafka: SecureKafka, tmp_path: Path, wrong: str
) -> None:
    settings, said, setting = REFUSALS[wrong]
    kafka = settings(secure_kafka, tmp_path)
    with pytest.raises(ServiceError) as caught:
        TopicInspector(kafka)
    assert str(caught.value).startswith(f"Kafka at {kafka.bootstrap}: cannot read topics: {said}")
    assert setting in (caught.value.hint or "")
    assert "\n" not in str(caught.value)


def test_a_ca_file_that_cannot_be_read_is_named(secure_kafka: SecureKafka, tmp_path: Path) -> None:
    kafka = secure_kafka.user(STREAM)
    missing = kafka.model_copy(update={"ca_file": tmp_path / "missing.pem"})
    with pytest.raises(ConfigError, match=r"TILLSTREAM_KAFKA__CA_FILE: there is no file .*missing"):
        TopicInspector(missing)
    (tmp_path / "empty.pem").write_text("no certificate", encoding="utf-8")
    empty = kafka.model_copy(update={"ca_file": tmp_path / "empty.pem"})
    with pytest.raises(ConfigError, match=r"empty.pem is not a readable PEM file"):
        TopicInspector(empty)


@contextmanager
def answering(reply: bytes) -> Iterator[KafkaSettings]:
    """A server that gives every request the same answer, for what no real broker here would say."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    link, _ = listener.accept()
                except OSError:
                    return
                with link:
                    link.recv(1024)
                    link.sendall(reply)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield KafkaSettings(bootstrap=f"127.0.0.1:{listener.getsockname()[1]}")
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=10)


def api_versions(*, metadata: int) -> bytes:
    body = struct.pack(">ihihhh", 1, 0, 1, 3, 0, metadata)
    return struct.pack(">i", len(body)) + body


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (api_versions(metadata=9), "the broker is older than Kafka 2.8 and has no topic ids"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "what answers there is not Kafka"),
        (b"", "it hangs up: still starting, or not Kafka"),
    ],
)
def test_an_old_broker_and_another_service_are_told_apart(reply: bytes, said: str) -> None:
    with answering(reply) as kafka, pytest.raises(ServiceError) as caught:
        require_reachable(kafka, "publish")
    assert str(caught.value) == f"Kafka at {kafka.bootstrap}: cannot publish: {said}"
    assert "TILLSTREAM_KAFKA__BOOTSTRAP" in (caught.value.hint or "")


def test_a_broker_that_does_not_answer_is_not_called_one_that_refuses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("producers.probe.connect", partial(endpoints.connect, timeout_s=0.2))
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ServiceError) as caught:
        require_reachable(
            KafkaSettings(bootstrap=f"127.0.0.1:{silent.getsockname()[1]}"), "publish"
        )
    assert "it takes connections, but did not answer within" in str(caught.value)
    assert "overloaded" in (caught.value.hint or "")


def test_one_bad_address_among_good_ones_does_no_harm(secure_kafka: SecureKafka) -> None:
    bootstrap = f"127.0.0.1:1,{secure_kafka.bootstrap}"
    require_reachable(
        secure_kafka.user(STREAM).model_copy(update={"bootstrap": bootstrap}), "publish"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a", "is not of the form"),
        ("a: {read: 3}", "is not of the form"),
        ("a: {steal: [t]}", "a: no operation is called 'steal'"),
        ("a: [", "cannot be read"),
    ],
)
def test_a_file_of_rules_that_makes_no_sense_is_refused(
    tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "rules.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        load_rules(tmp_path / "rules.yaml")
