"""Log lines for people, or one JSON object a line; never with a secret in it."""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, SecretStr

from tillstream.settings import Settings

_TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"
# Shorter ones would be found inside ordinary words.
_SHORTEST_SECRET = 6
# Libraries that say at INFO what matters to their own authors.
_QUIET = ("opentelemetry", "httpx")
# Libraries that tell of each failure at length, some a hundred times a second. What comes of it
# they raise, and that is told.
_SILENT = ("kafka", "clickhouse_connect", "py4j")


def configure_logging(settings: Settings, *, level: int = logging.INFO) -> None:
    """Send every record of this process to standard error, in the configured format."""
    handler = logging.StreamHandler()
    inner = JsonLines() if settings.log.format == "json" else logging.Formatter(_TEXT)
    handler.setFormatter(Redacting(inner, secrets_of(settings)))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def fields(**values: Any) -> dict[str, Any]:
    """The `extra` of a log call whose JSON line is to carry these values."""
    return {"fields": values}


class JsonLines(logging.Formatter):
    """`time` (UTC), `level`, `logger`, `message`, what `fields` gave, and `error` with its
    traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        extra = getattr(record, "fields", None)
        if isinstance(extra, Mapping):
            line |= extra
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class Redacting(logging.Formatter):
    """Another formatter's lines with every secret replaced: an exception's text may quote one."""

    def __init__(self, inner: logging.Formatter, secrets: Iterable[str]) -> None:
        super().__init__()
        self._inner = inner
        plain = {form for secret in secrets for form in (secret, repr(secret)[1:-1])}
        written = plain | {json.dumps(form, ensure_ascii=False)[1:-1] for form in plain}
        self._secrets = sorted(written, key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        text = self._inner.format(record)
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def secrets_of(model: BaseModel) -> Iterator[str]:
    """The value of every secret setting long enough to be recognised in a text."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from secrets_of(value)
        elif isinstance(value, SecretStr) and len(value.get_secret_value()) >= _SHORTEST_SECRET:
            yield value.get_secret_value()
