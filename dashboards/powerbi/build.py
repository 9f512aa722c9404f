"""Writes the Power BI project's model: `python dashboards/powerbi/build.py`.

Columns are those of docs/dictionary.md. `query` is what a table sends, so that tests can send it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).parent / "tillstream.SemanticModel/definition"
_SECTION = re.compile(r"^## (bi_\w+)\n\n(.*?)\.\n", re.MULTILINE)
_COLUMN = re.compile(r"^\| `(\w+)` \| (.+?) \| (.*) \|$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the model and the view behind it. `between` names the date column of a table that
    is loaded in pieces; `where` limits the others."""

    name: str
    view: str
    between: str = ""
    where: str = ""
    hidden: bool = False


TABLES = (
    Table("Dates", "bi_dates", where="date BETWEEN today() - 1100 AND today() + 60"),
    Table("Stores", "bi_stores"),
    Table("Products", "bi_products"),
    Table("Suppliers", "bi_suppliers"),
    Table("Sales", "bi_sales_by_product", between="date"),
    Table("Stock", "bi_stock"),
    Table("Risk", "bi_risk"),
    Table("Alerts", "bi_alerts"),
    Table("Stockouts", "bi_stockouts"),
    Table("Orders", "bi_orders"),
    Table("Access", "bi_access", hidden=True),
)
_FACTS = ("Sales", "Stock", "Risk", "Alerts", "Stockouts", "Orders")
RELATIONSHIPS = (
    ("Sales", "date", "Dates", "date"),
    *((fact, "store_id", "Stores", "store_id") for fact in _FACTS),
    *((fact, "product_id", "Products", "product_id") for fact in _FACTS),
    ("Products", "supplier_id", "Suppliers", "supplier_id"),
)
# table, name, DAX, format, what it means
MEASURES = (
    ("Sales", "Total revenue", "SUM(Sales[revenue])", "$#,0.00", "What was paid"),
    ("Sales", "Total profit", "SUM(Sales[profit])", "$#,0.00", "Revenue less cost"),
    ("Sales", "Total units", "SUM(Sales[units])", "#,0", "Units sold less units returned"),
    ("Sales", "Margin %", "DIVIDE([Total profit], [Total revenue])", "0.0%", "Profit over revenue"),
    (
        *("Sales", "Revenue, same weekday last year"),
        "CALCULATE([Total revenue], DATEADD(Dates[date], -364, DAY))",
        *("$#,0.00", "364 days before"),
    ),
    (
        *("Sales", "Sales complete until"),
        "MAX(Sales[complete_until])",
        *("yyyy-mm-dd hh:nn", "Everything that arrived before this was in at the refresh"),
    ),
    (
        *("Stock", "Shelves with stock %"),
        "DIVIDE(CALCULATE(COUNTROWS(Stock), Stock[on_hand] > 0), COUNTROWS(Stock))",
        *("0.0%", "Share of shelves with stock by their books"),
    ),
    (
        *("Risk", "Shelves at risk"),
        "CALCULATE(COUNTROWS(Risk), Risk[risk] >= 0.6)",
        *("#,0", "Likely to be empty before an order placed now arrives"),
    ),
    ("Risk", "Margin at stake", "SUM(Risk[expected_lost_margin])", "$#,0.00", "Likely lost"),
    (
        *("Alerts", "Open alerts"),
        'CALCULATE(COUNTROWS(Alerts), Alerts[state] <> "resolved")',
        *("#,0", "Restock alerts that are not resolved"),
    ),
)
# Who sees what in Power BI: the person's stores, by store or region, as bi_access has them.
ROLES = {
    "Own stores": (
        (
            "Stores",
            "Stores[store_id] IN CALCULATETABLE(VALUES(Access[store_id]),"
            " Access[user_name] = USERPRINCIPALNAME())",
        ),
        ("Access", "Access[user_name] = USERPRINCIPALNAME()"),
    ),
    "Whole chain": (),
}


def columns() -> dict[str, list[tuple[str, str, str]]]:
    """View -> (name, ClickHouse type, comment) of its columns, as the dictionary has them."""
    text = (ROOT / "docs/dictionary.md").read_text(encoding="utf-8")
    found = list(_SECTION.finditer(text))
    ends = [one.start() for one in found[1:]] + [len(text)]
    return {
        one[1]: _COLUMN.findall(text[one.end() : end]) for one, end in zip(found, ends, strict=True)
    }


def query(table: Table, names: list[str], *, since: str = "", until: str = "") -> str:
    """The SQL of a table; of one in pieces, between two dates of which the second is not in it."""
    sql = f"SELECT {', '.join(names)} FROM {table.view}"
    if table.between:
        return f"{sql} WHERE {table.between} >= '{since}' AND {table.between} < '{until}'"
    return f"{sql} WHERE {table.where}" if table.where else sql


def data_type(clickhouse: str) -> str:
    """The model's type for one of ClickHouse's."""
    inner = re.sub(r"^Nullable\((.*)\)$", r"\1", clickhouse)
    if re.match(r"U?Int\d+", inner):
        return "int64"
    if inner.startswith("Decimal"):
        return "decimal"
    if inner.startswith("Float"):
        return "double"
    if inner.startswith("Date"):
        return "dateTime"
    return {"Bool": "boolean", "String": "string"}[inner]


def _tag(*parts: str) -> str:
    return str(uuid5(NAMESPACE_URL, "/".join(("tillstream", *parts))))


def _source(table: Table, names: list[str]) -> list[str]:
    if table.between:
        day = '" & Date.ToText(Date.From({}), "yyyy-MM-dd") & "'
        sql = query(table, names, since=day.format("RangeStart"), until=day.format("RangeEnd"))
    else:
        sql = query(table, names)
    return ["let", f'    Rows = Odbc.Query(Connection, "{sql}")', "in", "    Rows"]


def table_text(table: Table, own: list[tuple[str, str, str]]) -> str:
    lines = [f"table {table.name}"]
    if table.hidden:
        lines.append("\tisHidden")
    lines.append(f"\tlineageTag: {_tag(table.name)}")
    for home, name, dax, form, about in MEASURES:
        if home == table.name:
            lines += ["", f"\t/// {about}", f"\tmeasure '{name}' = {dax}"]
            lines += [f"\t\tformatString: {form}", f"\t\tlineageTag: {_tag(table.name, name)}"]
    for name, kind, about in own:
        lines += ["", f"\t/// {about}", f"\tcolumn {name}", f"\t\tdataType: {data_type(kind)}"]
        if (table.name, name) == ("Dates", "date"):
            lines.append("\t\tisKey")
        lines.append(f"\t\tlineageTag: {_tag(table.name, name)}")
        summed = data_type(kind) in ("decimal",) or name == "units"
        lines += [f"\t\tsummarizeBy: {'sum' if summed else 'none'}", f"\t\tsourceColumn: {name}"]
    source = _source(table, [name for name, *_ in own])
    if table.between:
        lines += ["", "\trefreshPolicy", "\t\tpolicyType: basic"]
        lines += ["\t\trollingWindowGranularity: month", "\t\trollingWindowPeriods: 25"]
        lines += ["\t\tincrementalGranularity: day", "\t\tincrementalPeriods: 3"]
        lines += ["\t\tsourceExpression =", *(f"\t\t\t\t{line}" for line in source)]
    lines += ["", f"\tpartition {table.name} = m", "\t\tmode: import"]
    lines += ["\t\tsource =", *(f"\t\t\t\t{line}" for line in source)]
    return "\n".join(lines) + "\n"


def _expressions() -> str:
    text = []
    for name, value, about in (
        ("Server", '"http://localhost:8123"', "ClickHouse's HTTP interface"),
        ("Database", '"tillstream"', "The database with the bi_* views"),
    ):
        text += [f"/// {about}", f"expression {name} = {value} meta"]
        text[-1] += ' [IsParameterQuery=true, Type="Text", IsParameterQueryRequired=true]'
        text += [f"\tlineageTag: {_tag('parameter', name)}", ""]
    for name, day in (("RangeStart", "2026, 1, 1"), ("RangeEnd", "2026, 2, 1")):
        text += [
            "/// Set by incremental refresh",
            f"expression {name} = #datetime({day}, 0, 0, 0)",
        ]
        text[-1] += ' meta [IsParameterQuery=true, Type="DateTime", IsParameterQueryRequired=true]'
        text += [f"\tlineageTag: {_tag('parameter', name)}", ""]
    text += [
        "/// User and password are the data source's credentials, not part of this text",
        'expression Connection = "driver={ClickHouse ODBC Driver (Unicode)};url=" & Server'
        ' & ";database=" & Database',
        f"\tlineageTag: {_tag('connection')}",
    ]
    return "\n".join(text) + "\n"


def _model() -> str:
    lines = ["model Model", "\tculture: en-US", "\tdefaultPowerBIDataSourceVersion: powerBI_V3"]
    lines += ["\tdiscourageImplicitMeasures", ""]
    lines += [f"ref table {table.name}" for table in TABLES]
    lines += ["", *(f"ref role '{name}'" for name in ROLES)]
    return "\n".join(lines) + "\n"


def _relationships() -> str:
    parts = []
    for many, column, one, key in RELATIONSHIPS:
        name = _tag("relationship", many, column, one)
        parts.append(
            f"relationship {name}\n\tfromColumn: {many}.{column}\n\ttoColumn: {one}.{key}\n"
        )
    return "\n".join(parts)


def _role(name: str) -> str:
    lines = [f"role '{name}'", "\tmodelPermission: read"]
    for table, dax in ROLES[name]:
        lines += ["", f"\ttablePermission {table} = {dax}"]
    return "\n".join(lines) + "\n"


def files() -> Iterator[tuple[Path, str]]:
    """Every file of the model's definition, as path and text."""
    known = columns()
    yield FOLDER / "database.tmdl", "database\n\tcompatibilityLevel: 1604\n"
    yield FOLDER / "model.tmdl", _model()
    yield FOLDER / "expressions.tmdl", _expressions()
    yield FOLDER / "relationships.tmdl", _relationships()
    for name in ROLES:
        yield FOLDER / f"roles/{name}.tmdl", _role(name)
    for table in TABLES:
        yield FOLDER / f"tables/{table.name}.tmdl", table_text(table, known[table.view])


def main() -> None:
    for path, text in files():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
