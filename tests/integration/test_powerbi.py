"""The Power BI model: what the code makes, consistent, and every query it sends answered; and the
views through ClickHouse's own JDBC driver."""

import importlib.util
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest

from clickhouse.client import Client, connect
from clickhouse.dictionary import dictionary
from clickhouse.queries import select
from tillstream.devstack.jars import Jar, ensure_jars, fetch_jars, jar_cache, missing_jars
from tillstream.devstack.java import find_java
from tillstream.settings import Settings, WarehouseSettings, load_settings

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "dashboards/powerbi"
_VERSION = "0.9.9"
DRIVER = Jar(
    "jdbc",
    f"com/clickhouse/clickhouse-jdbc/{_VERSION}/clickhouse-jdbc-{_VERSION}-all.jar",
    "56b49bb9e40df699eff03215e3853ce028be9a6bf17f33687434901a74ee28e0",
    12252310,
)
_ARROW = {
    "int64": (pa.types.is_integer,),
    "decimal": (pa.types.is_decimal,),
    "double": (pa.types.is_floating,),
    "string": (pa.types.is_string, pa.types.is_large_string),
    "boolean": (pa.types.is_boolean,),
    # Dates without a time of day travel as whole numbers in Arrow.
    "dateTime": (pa.types.is_timestamp, pa.types.is_date, pa.types.is_unsigned_integer),
}


@pytest.fixture(scope="module")
def client(small_chain: WarehouseSettings) -> Iterator[Client]:
    with closing(connect(small_chain)) as client:
        yield client


@pytest.fixture(scope="module")
def model() -> ModuleType:
    spec = importlib.util.spec_from_file_location("powerbi_build", FOLDER / "build.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_model_in_the_repository_is_what_the_code_makes(model: ModuleType) -> None:
    made = dict(model.files())
    assert set(model.FOLDER.rglob("*.tmdl")) == set(made)
    for path, text in made.items():
        assert path.read_text(encoding="utf-8") == text, path.name


def test_every_query_the_model_sends_is_answered_in_its_types(
    model: ModuleType, client: Client
) -> None:
    known = model.columns()
    for table in model.TABLES:
        names = [name for name, *_ in known[table.view]]
        sent = model.query(table, names, since="2026-03-01", until="2026-03-10")
        answered = select(client, sent)
        assert answered.column_names == names
        assert answered.num_rows or table.view in ("bi_access", "bi_dates")
        for name, kind, _ in known[table.view]:
            fits = _ARROW[model.data_type(kind)]
            assert any(fit(answered.schema.field(name).type) for fit in fits), (table.name, name)
        # What the M text holds is that query, with the dates put in.
        text = "\n".join(model._source(table, names))
        assert model.query(table, names, since="X", until="Y").split("'X'")[0].rstrip("'") in text


def test_pieces_of_an_incremental_refresh_add_up(model: ModuleType, client: Client) -> None:
    (sales,) = (table for table in model.TABLES if table.between)
    total = Decimal(0)
    for since, until in (("2026-02-01", "2026-03-01"), ("2026-03-01", "2026-03-08"),
                         ("2026-03-08", "2026-03-11")):  # fmt: skip
        piece = select(client, model.query(sales, ["revenue"], since=since, until=until))
        total += sum(piece["revenue"].to_pylist())
    assert total == client.query("SELECT sum(revenue) FROM fact_sales").result_rows[0][0]


def test_relationships_lead_to_keys_that_are_there_once(model: ModuleType, client: Client) -> None:
    views = {table.name: table.view for table in model.TABLES}
    for many, column, one, key in model.RELATIONSHIPS:
        keys = select(client, f"SELECT count() = uniqExact({key}) AS once FROM {views[one]}")
        assert keys["once"].to_pylist() == [True] or keys["once"].to_pylist() == [1], one
        limit = " WHERE date >= '2026-03-01'" if many == "Sales" else ""
        lost = select(
            client,
            f"SELECT count() AS n FROM {views[many]}{limit}"
            f" {'AND' if limit else 'WHERE'} {column} NOT IN (SELECT {key} FROM {views[one]})",
        )
        assert lost["n"].to_pylist() == [0], (many, column)


def test_measures_and_roles_name_what_the_model_has(model: ModuleType) -> None:
    known = model.columns()
    views = {table.name: table.view for table in model.TABLES}
    measures = {name for _, name, *_ in model.MEASURES}
    roles = [(table, dax) for parts in model.ROLES.values() for table, dax in parts]
    for home, text in [(home, dax) for home, _, dax, *_ in model.MEASURES] + roles:
        assert home in views
        for table, column in re.findall(r"(\w+)\[(\w+)\]", text):
            assert column in {name for name, *_ in known[views[table]]}
        for name in re.findall(r"(?<!\w)\[([^\]]+)\]", text):
            assert name in measures
    for table in model.TABLES:
        # The model's names are one, whatever their case.
        own = [name.lower() for home, name, *_ in model.MEASURES if home == table.name]
        own += [name for name, *_ in known[table.view]]
        assert len(own) == len(set(own)), table.name


def _json(path: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((FOLDER / path).read_text(encoding="utf-8"))
    return read


def test_the_projects_files_are_as_their_schemas_demand() -> None:
    """What fabric/pbip/pbipProperties, item/semanticModel/definitionProperties and
    item/report/definitionProperties 1.0.0 of microsoft/json-schemas require and allow."""
    base = "https://developer.microsoft.com/json-schemas/fabric/"
    project = _json("tillstream.pbip")
    assert project["$schema"] == base + "pbip/pbipProperties/1.0.0/schema.json"
    assert set(project) == {"$schema", "version", "artifacts", "settings"}
    assert project["artifacts"] == [{"report": {"path": "tillstream.Report"}}]
    semantic = _json("tillstream.SemanticModel/definition.pbism")
    assert semantic["$schema"] == base + "item/semanticModel/definitionProperties/1.0.0/schema.json"
    assert set(semantic) == {"$schema", "version", "settings"}
    report = _json("tillstream.Report/definition.pbir")
    assert report["$schema"] == base + "item/report/definitionProperties/1.0.0/schema.json"
    assert set(report) == {"$schema", "version", "datasetReference"}
    target = FOLDER / "tillstream.Report" / report["datasetReference"]["byPath"]["path"]
    assert (target / "definition.pbism").is_file()
    (connection,) = _json("tillstream.pbids")["connections"]
    assert connection["details"]["protocol"] == "odbc"


def test_a_person_sees_the_stores_of_their_access(small_chain: WarehouseSettings) -> None:
    with closing(connect(small_chain)) as owner:
        owner.command(
            "INSERT INTO store_access (user_name, scope, value) VALUES ('m@x', 'store', 'S0001'),"
            " ('r@x', 'region', 'North East'), ('c@x', 'chain', ''), ('n@x', 'store', 'no such')"
        )
        try:
            found = owner.query(
                "SELECT user_name, count() FROM bi_access GROUP BY user_name ORDER BY user_name"
            ).result_rows
        finally:
            owner.command("TRUNCATE TABLE store_access")
    assert found == [("c@x", 6), ("m@x", 1), ("r@x", 4)]


@pytest.fixture(scope="module")
def jdbc_classpath() -> str:
    settings: Settings = load_settings()
    cache = jar_cache(settings)
    fetch_jars(missing_jars([DRIVER], cache=cache), cache=cache, maven_url=settings.maven_url)
    kafka = ensure_jars("kafka", cache=cache, maven_url=settings.maven_url)
    # The driver wants an slf4j beside it; the broker has one.
    logging = [str(jar) for jar in kafka if jar.name.startswith("slf4j-api")]
    return ":".join([str(cache / DRIVER.path), *logging])


def test_clickhouses_jdbc_driver_reads_every_view(
    client: Client, small_chain: WarehouseSettings, jdbc_classpath: str
) -> None:
    relations = dictionary(client, prefix="bi_")
    url = f"jdbc:clickhouse:http://{small_chain.host}:{small_chain.port}/{small_chain.database}"
    ran = subprocess.run(
        [
            *(str(find_java().executable), "-Xmx256m", "-cp", jdbc_classpath),
            *(str(ROOT / "tests/jdbc/ReadViews.java"), url),
            *(small_chain.user, small_chain.password.get_secret_value()),
            *(relation.name for relation in relations),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    *views, revenue = (line.split("\t") for line in ran.stdout.splitlines())
    assert [view for view, *_ in views] == [relation.name for relation in relations]
    for (view, count, names), relation in zip(views, relations, strict=True):
        assert names.split(",") == [column.name for column in relation.columns], view
        stored = client.query(f"SELECT count() FROM (SELECT * FROM {view} LIMIT 1000)")
        assert int(count) == stored.result_rows[0][0], view
    exact = client.query(
        "SELECT sum(revenue) FROM fact_sales WHERE date_key BETWEEN '2026-03-02' AND '2026-03-08'"
    ).result_rows[0][0]
    assert Decimal(revenue[1]) == exact
