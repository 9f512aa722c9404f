"""Checks of a day's data, and what they add up to.

A check is a file `clickhouse/checks/<table>/<name>.sql`, named after the table it guards. Its first
lines say what it is (`-- kind:`, `-- critical:`, `-- says:`), and it answers with one row: how much
was `checked` and how much of it `failed`. It may use `{day:Date}` and the table `keys`, which holds
each store's day. The score of a table and day is made by the view `quality_scores`.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from importlib import resources
from typing import Literal, cast, get_args

from clickhouse.client import Client
from clickhouse.queries import select
from orchestration.day import STORE_DAYS, store_days
from tillstream.errors import ConfigError, IntegrityError

Kind = Literal["completeness", "timeliness", "accuracy", "uniqueness", "reconciliation", "validity"]

# What is checked before rollups are made, and what before they are served.
FACTS = ("fact_sales", "fact_inventory")
STAGED = ("rollup_daily",)

_HEAD = re.compile(r"^-- (kind|critical|says): (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Check:
    table: str
    name: str
    kind: Kind
    critical: bool
    says: str
    sql: str


@dataclass(frozen=True, slots=True)
class Result:
    """`failed` of `checked` rows, items or windows were found wrong."""

    check: Check
    checked: int
    failed: int

    @property
    def passed(self) -> bool:
        return self.failed == 0

    def __str__(self) -> str:
        check = self.check
        return f"{check.table}/{check.name}: {self.failed:,} of {self.checked:,}: {check.says}"


def load_checks() -> tuple[Check, ...]:
    """Every check, by table and name. Raises ConfigError for one that does not say what it is."""
    folder = resources.files("clickhouse").joinpath("checks")
    found = [
        parse_check(table.name, file.name.removesuffix(".sql"), file.read_text("utf-8"))
        for table in folder.iterdir()
        for file in table.iterdir()
        if file.name.endswith(".sql")
    ]
    return tuple(sorted(found, key=lambda check: (check.table, check.name)))


def parse_check(table: str, name: str, text: str) -> Check:
    head = dict(_HEAD.findall(text))
    if head.get("kind") not in get_args(Kind) or head.get("critical") not in ("yes", "no"):
        raise ConfigError(
            f"check {table}/{name} must begin with `-- kind:` ({', '.join(get_args(Kind))})"
            " and `-- critical:` (yes, no)"
        )
    if "says" not in head:
        raise ConfigError(f"check {table}/{name} has no `-- says:` line")
    sql = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    return Check(
        table, name, cast(Kind, head["kind"]), head["critical"] == "yes", head["says"], sql
    )


def run_checks(client: Client, day: date, *, tables: Collection[str]) -> tuple[Result, ...]:
    """Run the checks of `tables` on `day` and write down what they found. Raises ServiceError."""
    stores = store_days(client, day)
    results = []
    for check in load_checks():
        if check.table not in tables:
            continue
        row = select(
            client, check.sql, keys=(stores, STORE_DAYS), parameters={"day": day}
        ).to_pylist()[0]
        results.append(Result(check, int(row["checked"]), int(row["failed"])))
    _save(client, day, results)
    return tuple(results)


def require_critical(results: Iterable[Result], *, day: date) -> None:
    """Raises IntegrityError, naming every critical check that failed."""
    broken = [str(one) for one in results if one.check.critical and not one.passed]
    if broken:
        raise IntegrityError(
            f"{day} is not loaded, and what was in service stays: {'; '.join(broken)}",
            hint="see `tillstream night status`; then `tillstream verify`, and once the data is"
            f" right `tillstream night run --date {day}`",
        )


def _save(client: Client, day: date, results: Iterable[Result]) -> None:
    rows = [
        [
            day,
            one.check.table,
            one.check.name,
            one.check.kind,
            one.check.critical,
            one.checked,
            one.failed,
            one.passed,
            one.check.says,
        ]
        for one in results
    ]
    columns = ["date_key", "table_name", "check_name", "kind", "critical", "checked", "failed"]
    client.insert("quality_results", rows, column_names=[*columns, "passed", "says"])
