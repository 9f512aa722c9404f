"""People who may ask the local warehouse for some stores' figures, and for nothing else.

The engine knows no users, and a filter put around a person's own SQL can be walked around. So a
guest sends no SQL: only the name of a query from the list below, with values for its parameters.
The stores are put in here, as a value too. Passwords are made by `tillstream access add` with 192
bits of chance, which is why a plain SHA-256 of them may be kept.
"""

import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tillstream.devstack.warehouse.errors import QueryError
from tillstream.devstack.warehouse.request import given_credentials
from tillstream.devstack.warehouse.statement import quote_text

ACCESS_DENIED: Final = 497
_AUTHENTICATION_FAILED: Final = 516

# Whatever a guest asks for ends there. `readonly` 1 lets nothing of this be changed.
LIMITS: Final[Mapping[str, str]] = {
    "readonly": "1",
    "max_execution_time": "10",
    "max_memory_usage": "500000000",
    "max_result_rows": "100000",
    "result_overflow_mode": "throw",
    "max_threads": "1",
}

_OWN_STORES = (
    "store_id IN (SELECT store_id FROM bi_stores WHERE store_id IN {stores:Array(String)}"
    " OR region IN {regions:Array(String)})"
)
_DATES = "date BETWEEN {from:Date} AND {to:Date}"
_WHOLE = ("bi_freshness", "bi_dates", "bi_products", "bi_suppliers")
_OF_STORES = (
    *("bi_stores", "bi_stock", "bi_availability", "bi_risk", "bi_alerts", "bi_orders"),
    *("bi_stockouts", "bi_price_changes", "bi_anomalies"),
)
_OF_STORES_AND_DAYS = (
    *("bi_sales", "bi_sales_by_store", "bi_sales_by_product", "bi_sales_by_hour"),
    *("bi_stock_movements", "bi_demand_outcomes"),
)
QUERIES: Final[Mapping[str, str]] = {
    **{name: f"SELECT * FROM {name}" for name in _WHOLE},
    **{name: f"SELECT * FROM {name} WHERE {_OWN_STORES}" for name in _OF_STORES},
    **{
        name: f"SELECT * FROM {name} WHERE {_DATES} AND {_OWN_STORES}"
        for name in _OF_STORES_AND_DAYS
    },
    "bi_velocity": (
        "SELECT * FROM bi_velocity WHERE window_start >= {since:DateTime('UTC')}"
        f" AND {_OWN_STORES}"
    ),
}
# What a guest may say beside the name of a query and `param_…`: how the answer is to look.
_PRESENTATION = frozenset({"query_id", "default_format", "enable_http_compression", "compress"})


@dataclass(frozen=True, slots=True)
class Guest:
    name: str
    password_sha256: str
    stores: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()

    def request(
        self, headers: Mapping[str, str], params: Mapping[str, str], database: str
    ) -> dict[str, str]:
        """The parameters of the request that stands for this guest's. Raises QueryError 497."""
        if "x-clickhouse-database" in headers:
            raise QueryError(
                ACCESS_DENIED,
                f"{self.name}: Not enough privileges to choose a database",
                name="ACCESS_DENIED",
            )
        wanted = params.get("query", "").strip()
        if wanted not in QUERIES:
            raise QueryError(
                ACCESS_DENIED,
                f"{self.name}: Not enough privileges. Ask for one of these by its name: "
                f"{', '.join(sorted(QUERIES))}",
                name="ACCESS_DENIED",
            )
        return {
            **{k: v for k, v in params.items() if k in _PRESENTATION or k.startswith("param_")},
            **LIMITS,
            "query": QUERIES[wanted],
            "database": database,
            "param_stores": _array(self.stores),
            "param_regions": _array(self.regions),
        }


def _array(names: tuple[str, ...]) -> str:
    return f"[{', '.join(quote_text(name) for name in names)}]"


class Guests:
    """The guests of a file, read again when it changes. A file that is not there has none."""

    def __init__(self, path: Path | None, audit: Path | None = None) -> None:
        self._path = path
        self._audit = audit
        self._read_at: tuple[int, int] | None = None
        self._guests: dict[str, Guest] = {}
        self.database = "default"

    def find(self, headers: Mapping[str, str], params: Mapping[str, str]) -> Guest | None:
        """The guest who asks; None when it is somebody else. Raises QueryError 516 for a wrong
        password."""
        user, password = given_credentials(headers, params)
        guest = self._all().get(user)
        if guest is None:
            return None
        given = hashlib.sha256(password.encode()).hexdigest()
        if not hmac.compare_digest(given, guest.password_sha256):
            raise QueryError(
                _AUTHENTICATION_FAILED,
                f"{user}: Authentication failed: password is incorrect, "
                "or there is no user with such name",
            )
        return guest

    def note(self, guest: Guest, *, query: str, code: int, began: float) -> None:
        """Write down what a guest asked, one JSON object a line."""
        if self._audit is None:
            return
        line = {
            "at_ms": time.time_ns() // 1_000_000,
            "user": guest.name,
            "query": query[:200],
            "code": code,
            "milliseconds": round((time.monotonic() - began) * 1000),
        }
        with self._audit.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _all(self) -> Mapping[str, Guest]:
        if self._path is None:
            return {}
        try:
            found = self._path.stat()
            seen = found.st_mtime_ns, found.st_ino
            if seen != self._read_at:
                self.database, self._guests = load(self._path)
                self._read_at = seen
        except FileNotFoundError:
            self._guests, self._read_at = {}, None
        except (OSError, ValueError, TypeError, KeyError):
            # Half a file lets nobody in; the owner is not kept out by it.
            self._guests, self._read_at = {}, None
        return self._guests


def load(path: Path) -> tuple[str, dict[str, Guest]]:
    """Database and guests of a file. Raises OSError, or ValueError, KeyError, TypeError for one
    that is not as `save` writes it."""
    content = json.loads(path.read_text(encoding="utf-8"))
    guests = {
        one["name"]: Guest(
            one["name"], one["password_sha256"], tuple(one["stores"]), tuple(one["regions"])
        )
        for one in content["guests"]
    }
    return str(content["database"]), guests


def as_text(database: str, guests: Mapping[str, Guest]) -> str:
    """What `load` reads."""
    rows = [
        {
            "name": guest.name,
            "password_sha256": guest.password_sha256,
            "stores": list(guest.stores),
            "regions": list(guest.regions),
        }
        for guest in guests.values()
    ]
    return json.dumps({"database": database, "guests": rows}, indent=2) + "\n"
