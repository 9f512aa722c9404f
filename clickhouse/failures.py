"""What the warehouse refused or why it cannot be reached, in one sentence with what to do."""

import re

from tillstream.endpoints import Endpoint, Unreachable, check
from tillstream.errors import ConfigError, ServiceError
from tillstream.settings import WarehouseSettings

# The first release with the setting `deduplicate_insert`, which every insert carries.
OLDEST_VERSION = (26, 2)

_AUTHENTICATION_FAILED = 516
_UNKNOWN_DATABASE = 81
# Codes of the server -> (what is wrong, what to do).
_KNOWN = {
    _AUTHENTICATION_FAILED: (
        "the user or password is refused",
        "check TILLSTREAM_WAREHOUSE__USER and TILLSTREAM_WAREHOUSE__PASSWORD",
    ),
    497: (
        "the user may not do this",
        "check TILLSTREAM_WAREHOUSE__USER, or grant it: deploy/clickhouse/users.sql",
    ),
    243: (
        "its disk is full",
        "free some space there; what was not stored is tried again by itself",
    ),
}
_FULL_DISK = re.compile(r"No space left on device|Cannot reserve|errno: 28\b", re.IGNORECASE)
_LONGEST_WORDS = 300


def failed(doing: str, exc: BaseException) -> ServiceError:
    """A query or insert that went wrong on a connection that had worked."""
    code = getattr(exc, "code", None)
    if _FULL_DISK.search(str(exc)):
        code = 243
    if code in _KNOWN:
        what, hint = _KNOWN[code]
        return ServiceError(f"{doing} failed: {what} ({server_words(exc)})", hint=hint)
    if code is None and "refused" in str(exc):
        return ServiceError(
            f"{doing} failed: ClickHouse is gone (connection refused)",
            hint="`tillstream status` shows it, `tillstream up` starts a local one",
        )
    return ServiceError(f"{doing} failed: {server_words(exc)}")


def cannot_connect(
    exc: BaseException, warehouse: WarehouseSettings, database: str
) -> ConfigError | ServiceError:
    """Why no connection came about. Asks the address itself when the client does not know."""
    where = f"ClickHouse at {warehouse.host}:{warehouse.port}"
    code = getattr(exc, "code", None)
    if code == _AUTHENTICATION_FAILED:
        what = f"refused user {warehouse.user!r}"
        return ConfigError(f"{where} {what}", hint=_KNOWN[code][1])
    if code == _UNKNOWN_DATABASE:
        return ConfigError(
            f"{where} has no database {database!r}",
            hint="create its tables with `tillstream provision`",
        )
    if code is not None:
        return failed(f"connecting to {where}", exc)
    try:
        check(endpoint(warehouse))
    except Unreachable as trouble:
        verb = "cannot be used" if trouble.answered else "does not answer"
        return ServiceError(f"{where} {verb}: {trouble.what}", hint=trouble.hint)
    except ConfigError as wrong:
        return ConfigError(f"{where}: {wrong}", hint=wrong.hint)
    return ServiceError(
        f"{where} does not answer as ClickHouse's HTTP interface: {server_words(exc)}",
        hint="correct TILLSTREAM_WAREHOUSE__HOST and TILLSTREAM_WAREHOUSE__PORT "
        "(8123, or 8443 with TLS; not the native 9000)",
    )


def require_version(version: str, warehouse: WarehouseSettings) -> None:
    """Raise ConfigError for a server too old for what is asked of it."""
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers and (int(numbers[1]), int(numbers[2])) < OLDEST_VERSION:
        raise ConfigError(
            f"ClickHouse at {warehouse.host}:{warehouse.port} is {version}; "
            f"{OLDEST_VERSION[0]}.{OLDEST_VERSION[1]} or newer is needed",
            hint="upgrade it, or correct TILLSTREAM_WAREHOUSE__HOST and __PORT",
        )


def endpoint(warehouse: WarehouseSettings) -> Endpoint:
    return Endpoint(
        warehouse.host,
        warehouse.port,
        tls=warehouse.secure,
        ca_file=warehouse.ca_file,
        address_setting="TILLSTREAM_WAREHOUSE__HOST and TILLSTREAM_WAREHOUSE__PORT",
        tls_setting="TILLSTREAM_WAREHOUSE__SECURE",
        ca_setting="TILLSTREAM_WAREHOUSE__CA_FILE",
    )


def server_words(exc: BaseException) -> str:
    """What the server said, without the client's frame and the list of every statement it knows."""
    words = str(exc).split("server response: ")[-1].split(" (for url")[0]
    words = words.split(" Expected one of:")[0].replace("\n", " ").strip()
    return words[:_LONGEST_WORDS] or type(exc).__name__
