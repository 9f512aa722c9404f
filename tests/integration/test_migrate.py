"""Migrations on a real warehouse."""

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import typer
from typer.testing import CliRunner

import clickhouse.migrate
from clickhouse.client import Client, connect
from clickhouse.migrate import Migration, clustered, load_migrations, migrate, pending
from tests.fixtures.warehouse import WarehouseProcess
from tillstream.cli import warehouse
from tillstream.errors import ConfigError, IntegrityError, ServiceError
from tillstream.settings import Settings, WarehouseSettings, load_settings

pytestmark = pytest.mark.integration


@pytest.fixture
def settings(warehouse_server: WarehouseProcess, tmp_path: Path) -> Iterator[Settings]:
    """Settings that name a database which does not exist yet."""
    settings = load_settings(
        home=tmp_path,
        warehouse={
            "port": warehouse_server.port,
            "password": warehouse_server.password,
            "database": f"migrate_{uuid4().hex[:12]}",
        },
    )
    yield settings
    root = connect(settings.warehouse, database="default")
    root.command(f"DROP DATABASE IF EXISTS `{settings.warehouse.database}`")
    root.close()


def opened(settings: Settings) -> Client:
    return connect(settings.warehouse)


def test_migrations_apply_in_order_and_only_once(settings: Settings) -> None:
    said: list[int] = []
    applied = migrate(settings.warehouse, on_applied=lambda one: said.append(one.number))
    assert said == [one.number for one in load_migrations()] == [one.number for one in applied]
    assert migrate(settings.warehouse) == ()
    client = opened(settings)
    ledger = client.query("SELECT number, sha256 FROM schema_migrations ORDER BY number")
    assert ledger.result_rows == [(one.number, one.sha256) for one in load_migrations()]
    days = client.query("SELECT count(), min(date_key), max(date_key) FROM dim_date").result_rows
    assert [str(value) for value in days[0]] == ["18263", "2000-01-01", "2049-12-31"]
    client.close()


def test_edited_migration_is_refused(settings: Settings) -> None:
    migrate(settings.warehouse)
    client = opened(settings)
    first, *others = load_migrations()
    edited = Migration(first.number, first.name, first.sql + "\n-- a small change")
    with pytest.raises(IntegrityError, match="0001_facts was edited"):
        pending(client, (edited, *others))
    new = Migration(others[-1].number + 1, "new", "SELECT 1")
    assert pending(client, (first, *others, new)) == (new,)
    client.close()


def test_migration_that_stopped_half_way_is_finished(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = "CREATE TABLE one (x Int32) ENGINE = MergeTree ORDER BY x;\n"
    second = "CREATE TABLE two (x Int32) ENGINE = MergeTree ORDER BY x;\n"
    with monkeypatch.context() as broken:
        bad = Migration(1, "pair", good + "CREATE TABLE two (x Nonsense) ENGINE = Memory;\n")
        broken.setattr(clickhouse.migrate, "load_migrations", lambda: (bad,))
        with pytest.raises(ServiceError, match=r"0001_pair failed.*Nonsense"):
            migrate(settings.warehouse)
    whole = Migration(1, "pair", good + second)
    monkeypatch.setattr(clickhouse.migrate, "load_migrations", lambda: (whole,))
    assert migrate(settings.warehouse) == (whole,)
    client = opened(settings)
    tables = client.query("SHOW TABLES").result_columns[0]
    assert tables == ["one", "schema_migrations", "two"]
    client.close()


def test_cluster_statements_parse(settings: Settings) -> None:
    root = connect(settings.warehouse, database="default")
    for migration in load_migrations():
        for statement in migration.statements():
            for text in clustered(statement, "chain"):
                tree = root.raw_query(f"EXPLAIN AST {text}").decode()
                kinds = ("Create", "Insert", "Drop", "Truncate", "Alter")
                assert tree.startswith(kinds), text[:80]
    root.close()


@pytest.fixture
def cli(settings: Settings) -> typer.Typer:
    app = typer.Typer()

    @app.callback()
    def root(ctx: typer.Context) -> None:
        ctx.obj = settings

    warehouse.register(app)
    return app


def test_plan_tells_and_does_nothing(settings: Settings, cli: typer.Typer) -> None:
    names = [f"{one.number:04d}_{one.name}" for one in load_migrations()]
    run = CliRunner()
    planned = run.invoke(cli, ["migrate", "--plan", "--json"])
    assert planned.exit_code == 0, planned.output
    assert json.loads(planned.output) == {"applied": False, "migrations": names}
    root = connect(settings.warehouse, database="default")
    assert settings.warehouse.database not in root.query("SHOW DATABASES").result_columns[0]
    root.close()
    done = run.invoke(cli, ["migrate", "--json"])
    assert json.loads(done.output) == {"applied": True, "migrations": names}
    assert run.invoke(cli, ["migrate", "--plan"]).output == "nothing to apply\n"


def test_sql_answers_in_the_format_asked_for(settings: Settings, cli: typer.Typer) -> None:
    migrate(settings.warehouse)
    run = CliRunner()
    query = "SELECT count() AS n FROM dim_date"
    answer = run.invoke(cli, ["sql", query, "--format", "JSONEachRow"])
    assert json.loads(answer.output) in ({"n": 18263}, {"n": "18263"})
    wrong = run.invoke(cli, ["sql", "SELECT nonsense"])
    assert isinstance(wrong.exception, ServiceError)
    assert "nonsense" in str(wrong.exception)


def test_wrong_password_and_wrong_address_are_told_apart(settings: Settings) -> None:
    right = settings.warehouse.model_dump()
    with pytest.raises(ConfigError, match="refused user 'tillstream'") as refused:
        connect(WarehouseSettings.model_validate({**right, "password": "x"}), database="default")
    assert "TILLSTREAM_WAREHOUSE__PASSWORD" in (refused.value.hint or "")
    with pytest.raises(ServiceError, match="does not answer: connection refused"):
        connect(WarehouseSettings.model_validate({**right, "port": 1}), database="default")
    with pytest.raises(ConfigError, match="has no database 'migrate_") as absent:
        connect(settings.warehouse)
    assert "tillstream provision" in (absent.value.hint or "")
