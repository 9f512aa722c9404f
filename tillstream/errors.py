"""The error tree. A message says what was wrong and where; a hint says what to do about it."""


class TillstreamError(Exception):
    """Anything a user can act on. The CLI prints it without a traceback and exits `exit_code`."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(TillstreamError):
    """A setting or an argument is wrong."""

    exit_code = 2


class ContractError(TillstreamError):
    """An event does not fit its contract; the message names the field."""

    exit_code = 3


class ServiceError(TillstreamError):
    """A service (Kafka, ClickHouse, the lake, Spark) cannot be reached or refused a request."""

    exit_code = 4


class IntegrityError(TillstreamError):
    """Stored data disagrees with what Kafka acknowledged, or too much input is bad."""

    exit_code = 5
