"""The whole way with TLS and logins everywhere, and no secret where one could be read."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from clickhouse.client import connect
from lake.bucket import prepare_bucket
from lake.client import connect as connect_lake
from producers.access import apply_rules, load_rules
from producers.kafka_publisher import KafkaPublisher
from producers.topics import offset_ranges
from tests.contracts_suite.events import sale, update
from tests.contracts_suite.publisher import CODEC
from tests.fixtures.kafka_secure import ADMIN, SecureKafka
from tests.fixtures.platform import wait_for
from tests.fixtures.warehouse_secure import SecureWarehouse
from tillstream.contracts.topics import SOURCE_TOPICS, Topic
from tillstream.devstack.java import find_java
from tillstream.settings import Settings, load_settings

if TYPE_CHECKING:
    from tests.fixtures.minio import MinioServer

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.integration,
    pytest.mark.timeout(1500),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

RULES = Path(__file__).resolve().parents[2] / "deploy/kafka/acls.yaml"
URL = "s3://guarded/chain"
CUSTOMER_KEY = "customer-key-0dd-9f31"
WRONG = "wrong-0dd-4c77"
_LONG_S = 600.0
_STOP_S = 90.0


@dataclass(slots=True)
class Guarded:
    """Services that ask everybody who they are, and a home whose secrets are in files."""

    home: Path
    environment: dict[str, str]
    secrets: dict[str, str]

    @property
    def folder(self) -> Path:
        return self.home.parent / "secrets"

    @property
    def log(self) -> Path:
        return self.home / "logs" / "stream.log"

    def settings(self) -> Settings:
        """As a process of this home reads them."""
        before = dict(os.environ)
        os.environ.update(self.environment)
        try:
            return load_settings(home=self.home)
        finally:
            os.environ.clear()
            os.environ.update(before)

    def keep(self, **changes: str) -> None:
        """Write the files of secrets, some of them with another content."""
        self.folder.mkdir(exist_ok=True)
        for name, value in (self.secrets | changes).items():
            (self.folder / name).write_text(value, encoding="utf-8")

    def cli(self, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tillstream.cli.main", "--home", str(self.home), *arguments],
            env=os.environ | self.environment | changes,
            capture_output=True,
            text=True,
            timeout=_LONG_S,
            check=False,
        )

    @contextmanager
    def stream(self) -> Iterator[subprocess.Popen[bytes]]:
        """The real process, ended with the block however it ends."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            running = subprocess.Popen(
                [sys.executable, "-m", "tillstream.cli.main", "--home", str(self.home), "stream"],
                env=os.environ | self.environment | {"JAVA_HOME": str(find_java().home)},
                stdout=log,
                stderr=log,
            )
        try:
            yield running
        finally:
            running.terminate()
            try:
                running.wait(timeout=_STOP_S)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()

    def state(self) -> dict[str, object]:
        try:
            report = json.loads((self.home / "run" / "stream.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        assert isinstance(report, dict)
        return report


@pytest.fixture(scope="module")
def guarded(
    secure_kafka: SecureKafka,
    secure_warehouse: SecureWarehouse,
    secure_minio: "MinioServer",
    tmp_path_factory: pytest.TempPathFactory,
) -> Guarded:
    home = tmp_path_factory.mktemp("guarded") / "home"
    warehouse = secure_warehouse.settings("guarded")
    stream = secure_kafka.user("tillstream-stream")
    one = Guarded(
        home,
        {
            "TILLSTREAM_SECRETS_DIR": str(home.parent / "secrets"),
            "TILLSTREAM_KAFKA__BOOTSTRAP": stream.bootstrap,
            "TILLSTREAM_KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
            "TILLSTREAM_KAFKA__USERNAME": "tillstream-stream",
            "TILLSTREAM_KAFKA__CA_FILE": str(stream.ca_file),
            "TILLSTREAM_WAREHOUSE__PORT": str(warehouse.port),
            "TILLSTREAM_WAREHOUSE__DATABASE": "guarded",
            "TILLSTREAM_WAREHOUSE__SECURE": "true",
            "TILLSTREAM_WAREHOUSE__CA_FILE": str(warehouse.ca_file),
            "TILLSTREAM_LAKE__URL": URL,
            "TILLSTREAM_LAKE__ENDPOINT": secure_minio.endpoint,
            "TILLSTREAM_LAKE__ACCESS_KEY": secure_minio.access_key,
            "TILLSTREAM_LAKE__CA_FILE": str(secure_minio.ca_file),
            "TILLSTREAM_STREAM__LAKE_TRIGGER_S": "2",
            "TILLSTREAM_STREAM__DRIVER_MEMORY": "1g",
        },
        {
            "TILLSTREAM_KAFKA__PASSWORD": secure_kafka.passwords["tillstream-stream"],
            "TILLSTREAM_WAREHOUSE__PASSWORD": secure_warehouse.password,
            "TILLSTREAM_LAKE__SECRET_KEY": secure_minio.secret_key,
            "TILLSTREAM_CUSTOMER_KEY": CUSTOMER_KEY,
        },
    )
    one.keep()
    apply_rules(secure_kafka.user(ADMIN), load_rules(RULES))
    prepare_bucket(secure_minio.settings(), url=URL)
    return one


def publish(kafka: SecureKafka) -> int:
    """A few sales and movements, by the user of the stores; how many."""
    till = kafka.user("tillstream-simulator")
    with KafkaPublisher(till, CODEC, customer_key=CUSTOMER_KEY.encode()) as publisher:
        for number in range(50):
            publisher.publish(Topic.SALES, sale(event_id=f"e{number}", transaction_id=f"t{number}"))
            publisher.publish(Topic.INVENTORY, update(inventory_id=f"i{number}", sequence=number))
    return 100


def test_events_reach_tables_and_lake_over_tls(guarded: Guarded, secure_kafka: SecureKafka) -> None:
    provisioner = secure_kafka.user("tillstream-provisioner").password
    assert provisioner is not None
    guarded.keep(TILLSTREAM_KAFKA__PASSWORD=provisioner.get_secret_value())
    try:
        done = guarded.cli("provision", TILLSTREAM_KAFKA__USERNAME="tillstream-provisioner")
    finally:
        guarded.keep()
    assert done.returncode == 0, done.stderr

    publish(secure_kafka)
    audit = secure_kafka.user("tillstream-audit")
    wanted = sum(end for _, end in offset_ranges(audit, SOURCE_TOPICS).values())
    settings = guarded.settings()
    with guarded.stream() as process, closing(connect(settings.warehouse)) as client:

        def stored() -> int:
            tables = ("fact_sales", "fact_inventory", "duplicates", "quarantine")
            counts = " + ".join(f"(SELECT count() FROM {table})" for table in tables)
            return int(client.query(f"SELECT {counts}").result_rows[0][0])

        lake = connect_lake(settings.lake, url=URL)

        def archived() -> int:
            return sum(lake.row_count(one.name) for one in lake.list("raw-data"))

        wait_for(lambda: stored() == wanted, timeout_s=_LONG_S, what=f"{wanted} are stored")
        wait_for(lambda: archived() == wanted, timeout_s=_LONG_S, what=f"{wanted} are archived")
        wait_for(lambda: guarded.state().get("state") == "running", timeout_s=30, what="it runs")
        assert found_in_command_lines(guarded) == []
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("TILLSTREAM_KAFKA__PASSWORD", r"Kafka at \S+: cannot .*refused user 'tillstream-stream'"),
        ("TILLSTREAM_WAREHOUSE__PASSWORD", r"ClickHouse at \S+ refused user 'tillstream'"),
    ],
)
def test_a_wrong_password_is_told_by_log_and_status(
    guarded: Guarded, secret: str, said: str
) -> None:
    guarded.keep(**{secret: WRONG})
    try:
        with guarded.stream() as process:
            assert process.wait(timeout=_LONG_S) in (2, 4)
    finally:
        guarded.keep()
    state = guarded.state()
    assert state["state"] == "failed"
    assert re.match(said, str(state["reason"]))
    assert secret in str(state["reason"])
    last = guarded.log.read_text(encoding="utf-8").split("error: ")[-1]
    assert re.match(said, last)
    assert secret in last


def test_a_wrong_key_of_the_lake_stops_the_lake_only(guarded: Guarded) -> None:
    guarded.keep(TILLSTREAM_LAKE__SECRET_KEY=WRONG)

    def reason() -> str:
        queries = guarded.state().get("queries", {})
        assert isinstance(queries, dict)
        return str(queries.get("lake", {}).get("reason", ""))

    try:
        with guarded.stream():
            wait_for(lambda: bool(reason()), timeout_s=_LONG_S, what="the trouble is told")
            assert "the secret key does not belong to the access key" in reason()
            assert "TILLSTREAM_LAKE__SECRET_KEY" in reason()
    finally:
        guarded.keep()


def test_no_secret_is_in_any_log_state_or_output(
    guarded: Guarded,
    secure_kafka: SecureKafka,
    secure_warehouse: SecureWarehouse,
) -> None:
    """After everything above: what succeeded, and what was refused."""
    outputs = [
        guarded.cli("tail", "sales", "-n", "1"),
        guarded.cli("sql", "SELECT count() FROM fact_sales"),
        guarded.cli("verify"),
        guarded.cli("doctor"),
        guarded.cli("nonsense"),
    ]
    guarded.keep(TILLSTREAM_WAREHOUSE__PASSWORD=WRONG, TILLSTREAM_KAFKA__PASSWORD=WRONG)
    outputs += [guarded.cli("verify"), guarded.cli("tail", "sales"), guarded.cli("provision")]
    guarded.keep()
    texts = {f"output {at}": one.stdout + one.stderr for at, one in enumerate(outputs)}
    places = [guarded.home, secure_kafka.authority.folder / "logs"]
    files = [path for place in places for path in place.rglob("*") if path.is_file()]
    files.append(secure_warehouse.home / "warehouse.log")
    assert guarded.log in files
    texts |= {str(path): path.read_text(encoding="utf-8", errors="replace") for path in files}
    assert any("tillstream.stream" in text for text in texts.values())
    secrets = {*guarded.secrets.values(), *secure_kafka.passwords.values(), WRONG}
    leaks = [(name, one) for name, text in texts.items() for one in secrets if one in text]
    assert leaks == []
    assert [one.returncode for one in outputs[:3]] == [0, 0, 0], outputs[:3]
    assert [one.returncode for one in outputs[-3:]] == [2, 4, 2], outputs[-3:]


def found_in_command_lines(guarded: Guarded) -> list[str]:
    """Command lines of any process here that show a secret."""
    secrets = {*guarded.secrets.values(), WRONG}
    lines = []
    for one in psutil.process_iter():
        try:
            lines.append(" ".join(one.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    assert any("tillstream.cli.main" in line for line in lines)
    assert any("java" in line for line in lines)
    return [line for line in lines if any(secret in line for secret in secrets)]
