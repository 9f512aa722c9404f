"""What Grafana makes of a panel's SQL: variables put in, macros of the ClickHouse plugin expanded.

Source: the tables of macros in grafana/clickhouse-datasource's README, and of variable formats in
Grafana's documentation (`percentencode`: as a URL's component, !'()* too).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from tillstream.errors import ConfigError

_VARIABLE = re.compile(r"\$\{(\w+):(\w+)\}")
_MACRO = re.compile(r"\$__(\w+)(?:\((\w+)\))?")


@dataclass(frozen=True, slots=True)
class TimeRange:
    """What is looked at, both ends included, milliseconds of UTC."""

    from_ms: int
    to_ms: int


def expand(sql: str, span: TimeRange, variables: Mapping[str, str]) -> str:
    """The SQL that the plugin sends. Raises ConfigError for an unknown macro or variable."""

    def put_in(found: re.Match[str]) -> str:
        name, how = found.groups()
        if name not in variables or how != "percentencode":
            raise ConfigError(f"no value for {found[0]}", hint=f"choose a {name}")
        return quote(variables[name], safe="")

    def macro(found: re.Match[str]) -> str:
        name, column = found.groups()
        if name not in _MACROS or (column is None) != (name in _WITHOUT_COLUMN):
            raise ConfigError(f"unknown macro {found[0]}")
        return _MACROS[name](span, column or "")

    # In this order: what a person typed is never read as a macro.
    return _VARIABLE.sub(put_in, _MACRO.sub(macro, sql))


def _seconds(at_ms: int) -> str:
    return f"toDateTime({at_ms // 1000})"


def _millis(at_ms: int) -> str:
    return f"fromUnixTimestamp64Milli({at_ms})"


def _day(at_ms: int) -> str:
    return f"toDate('{datetime.fromtimestamp(at_ms / 1000, tz=UTC):%Y-%m-%d}')"


def _between(moment: Callable[[int], str]) -> Callable[[TimeRange, str], str]:
    return lambda span, column: (
        f"{column} >= {moment(span.from_ms)} AND {column} <= {moment(span.to_ms)}"
    )


_MACROS: Mapping[str, Callable[[TimeRange, str], str]] = {
    "timeFilter": _between(_seconds),
    "timeFilter_ms": _between(_millis),
    "dateFilter": _between(_day),
    "fromTime": lambda span, _: _seconds(span.from_ms),
    "toTime": lambda span, _: _seconds(span.to_ms),
    "fromTime_ms": lambda span, _: _millis(span.from_ms),
    "toTime_ms": lambda span, _: _millis(span.to_ms),
}
_WITHOUT_COLUMN = {"fromTime", "toTime", "fromTime_ms", "toTime_ms"}
