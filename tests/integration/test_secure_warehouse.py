"""The warehouse over TLS: who gets in, and how a refusal, a full disk or an old server is told."""

import re
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pyarrow as pa
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from pydantic import SecretStr

from clickhouse.client import connect
from clickhouse.failures import failed
from clickhouse.migrate import migrate
from clickhouse.writer import insert
from tests.fixtures.certificates import Authority
from tests.fixtures.warehouse import WarehouseProcess, free_port
from tests.fixtures.warehouse_secure import SecureWarehouse
from tillstream.errors import ConfigError, ServiceError
from tillstream.settings import WarehouseSettings

pytestmark = pytest.mark.integration

DEPLOY = Path(__file__).resolve().parents[2] / "deploy/clickhouse"


def test_tables_are_made_filled_and_read_over_https(secure_warehouse: SecureWarehouse) -> None:
    settings = secure_warehouse.settings(f"tls_{uuid.uuid4().hex}")
    migrate(settings)
    with closing(connect(settings)) as client:
        insert(client, "dim_supplier", pa.table({"supplier_id": ["s"], "supplier_name": ["Sam"]}))
        names = client.query("SELECT supplier_name FROM dim_supplier").result_rows
        assert [tuple(row) for row in names] == [("Sam",)]


Wrong = Callable[[WarehouseSettings, Path], dict[str, object]]

# What is wrong -> what is said -> the setting that is named.
REFUSALS: dict[str, tuple[Wrong, str, str]] = {
    "password": (
        lambda *_: {"password": SecretStr("guess")},
        " refused user 'tillstream'",
        "TILLSTREAM_WAREHOUSE__PASSWORD",
    ),
    "user": (
        lambda *_: {"user": "ghost"},
        " refused user 'ghost'",
        "TILLSTREAM_WAREHOUSE__USER",
    ),
    "database": (
        lambda *_: {"database": "nowhere"},
        " has no database 'nowhere'",
        "tillstream provision",
    ),
    "host": (
        lambda *_: {"host": "no.invalid"},
        " does not answer: no machine is called no.invalid",
        "TILLSTREAM_WAREHOUSE__HOST",
    ),
    "port": (
        lambda *_: {"port": free_port()},
        " does not answer: connection refused",
        "TILLSTREAM_WAREHOUSE__PORT",
    ),
    "plain text to a TLS port": (
        lambda *_: {"secure": False},
        " cannot be used: it speaks TLS, and the settings say plain text",
        "TILLSTREAM_WAREHOUSE__SECURE",
    ),
    "unknown authority": (
        lambda _, folder: {"ca_file": Authority(folder).ca_file},
        " cannot be used: its certificate is not trusted by the authority in",
        "TILLSTREAM_WAREHOUSE__CA_FILE",
    ),
    "no authority": (
        lambda *_: {"ca_file": None},
        " cannot be used: its certificate is not trusted by the system",
        "TILLSTREAM_WAREHOUSE__CA_FILE",
    ),
    "missing authority": (
        lambda _, folder: {"ca_file": folder / "missing.pem"},
        ": TILLSTREAM_WAREHOUSE__CA_FILE: there is no file",
        "",
    ),
    "another name": (
        lambda *_: {"host": "localhost"},
        " cannot be used: its certificate is not for localhost",
        "TILLSTREAM_WAREHOUSE__HOST",
    ),
}


@pytest.mark.parametrize("wrong", REFUSALS)
def test_a_wrong_setting_is_told_in_one_sentence(
    secure_warehouse: SecureWarehouse, tmp_path: Path, wrong: str
) -> None:
    change, said, setting = REFUSALS[wrong]
    right = secure_warehouse.settings("default")
    settings = right.model_copy(update=change(right, tmp_path))
    with pytest.raises((ConfigError, ServiceError)) as caught:
        connect(settings)
    assert str(caught.value).startswith(f"ClickHouse at {settings.host}:{settings.port}{said}")
    assert setting in (caught.value.hint or "")
    assert "\n" not in str(caught.value)


def test_tls_to_a_plain_text_port_is_told(warehouse_server: WarehouseProcess) -> None:
    settings = warehouse_server.settings("default").model_copy(update={"secure": True})
    with pytest.raises(ServiceError, match="it does not speak TLS") as caught:
        connect(settings)
    assert "TILLSTREAM_WAREHOUSE__SECURE" in (caught.value.hint or "")


@contextmanager
def web_server(answer: str) -> Iterator[WarehouseSettings]:
    """Answers every request with the same text: an old server's version, or no ClickHouse."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield WarehouseSettings(port=server.server_port)
        finally:
            server.shutdown()
            thread.join(timeout=10)


def test_a_web_server_is_not_taken_for_clickhouse() -> None:
    with web_server("hello") as settings, pytest.raises(ServiceError) as caught:
        connect(settings)
    assert "does not answer as ClickHouse's HTTP interface" in str(caught.value)
    assert "not the native 9000" in (caught.value.hint or "")


def test_an_old_server_is_refused_with_the_version_that_is_needed() -> None:
    from clickhouse.failures import require_version

    settings = WarehouseSettings()
    require_version("26.2.1.1", settings)
    require_version("27.1.3.9 (official build)", settings)
    with pytest.raises(ConfigError) as caught:
        require_version("25.8.2.29", settings)
    assert str(caught.value) == (
        "ClickHouse at 127.0.0.1:8123 is 25.8.2.29; 26.2 or newer is needed"
    )


@pytest.mark.parametrize(
    ("code", "words", "said"),
    [
        (
            243,
            "Code: 243. DB::Exception: Cannot reserve 1.00 MiB, not enough space.",
            "insert failed: its disk is full (Code: 243. DB::Exception: Cannot reserve 1.00 MiB, "
            "not enough space.)",
        ),
        (1001, "std::exception: No space left on device", "insert failed: its disk is full (std::"),
        (497, "r: Not enough privileges.", "insert failed: the user may not do this (r: Not"),
        (60, "Code: 60. DB::Exception: No table t.", "insert failed: Code: 60. DB::Exception: No"),
        (None, "[Errno 111] Connection refused", "insert failed: ClickHouse is gone (connection"),
    ],
)
def test_what_the_server_refuses_is_told_in_its_essence(
    code: int | None, words: str, said: str
) -> None:
    text = f"Received ClickHouse exception, code: {code}, server response: {words} (for url http:…)"
    told = failed("insert", DatabaseError(text, code=code))
    assert str(told).startswith(said)
    assert "for url" not in str(told)


@pytest.fixture
def users() -> list[str]:
    text = re.sub(r"--.*", "", (DEPLOY / "users.sql").read_text(encoding="utf-8"))
    return [one.strip() for one in text.split(";") if one.strip()]


def test_every_statement_of_the_users_file_is_understood_and_grants_what_exists(
    secure_warehouse: SecureWarehouse, users: list[str]
) -> None:
    settings = secure_warehouse.settings(f"users_{uuid.uuid4().hex}")
    migrate(settings)
    with closing(connect(settings)) as client:
        for statement in users:
            assert client.command(f"EXPLAIN AST {statement}")
        with pytest.raises(DatabaseError, match="Syntax error"):
            client.command(f"EXPLAIN AST {users[0]} x y")
        columns = client.query(
            "SELECT table, name FROM system.columns WHERE database = currentDatabase()"
        ).result_rows
    known = {(table, name) for table, name in columns} | {(table, None) for table, _ in columns}
    named = re.findall(r"(?:SELECT\((\w+)\) )?ON tillstream\.(\w+)", "\n".join(users))
    assert len(named) == 6
    assert {(table, column or None) for column, table in named} <= known


def test_no_user_of_the_file_can_log_in_before_a_password_is_given(users: list[str]) -> None:
    made = [one for one in users if one.startswith("CREATE USER")]
    assert len(made) == 5
    assert all("NOT IDENTIFIED HOST NONE" in one for one in made)


def test_dashboards_see_no_customers_and_no_original_bytes(users: list[str]) -> None:
    hidden = {one for one in users if one.startswith("REVOKE")}
    assert {one.split(" FROM ")[0] for one in hidden} == {
        "REVOKE SELECT ON tillstream.quarantine",
        "REVOKE SELECT ON tillstream.duplicates",
        "REVOKE SELECT(customer_id) ON tillstream.fact_sales",
        "REVOKE SELECT(customer_id) ON tillstream.customer_events",
    }


def test_the_servers_tls_file_leaves_no_plain_port_open() -> None:
    root = ET.parse(DEPLOY / "tls.xml").getroot()
    removed = {one.tag for one in root if one.get("remove")}
    assert removed == {"http_port", "tcp_port", "mysql_port", "postgresql_port"}
    assert root.findtext("https_port") == "8443"
