"""Why a query stopped, in one line for the log and for `tillstream status`."""

import re

from tillstream.errors import TillstreamError

_LONGEST = 300

# What Spark's report of a failed query contains -> (what is wrong, what to do).
_KNOWN = (
    (
        re.compile(r"Failed to find data source: kafka"),
        "Spark has no Kafka source",
        'give spark-submit our libraries: --jars "$(tillstream jars)"',
    ),
    (
        re.compile(r"Not authorized to access topics: \[(?P<name>[^\]]*)\]"),
        "Kafka: the stream's user may not read {name}",
        "log in as the service's own user (TILLSTREAM_KAFKA__USERNAME), or add the rule to "
        "deploy/kafka/acls.yaml and apply it with `tillstream provision --acls`",
    ),
    (
        re.compile(r"SaslAuthenticationException"),
        "Kafka refused the stream's user or password",
        "check TILLSTREAM_KAFKA__USERNAME and TILLSTREAM_KAFKA__PASSWORD",
    ),
    (
        re.compile(r"SslAuthenticationException|SSLHandshakeException"),
        "Kafka's certificate is not trusted, or not for this address",
        "check TILLSTREAM_KAFKA__CA_FILE and TILLSTREAM_KAFKA__BOOTSTRAP",
    ),
    (
        re.compile(r"No space left on device|Disk quota exceeded"),
        "the disk of Spark's scratch folder is full",
        "free some space where the home is (its folder spark/ is scratch); the stream goes on by "
        "itself",
    ),
)


def why(exc: BaseException) -> str:
    """The failure and what to do about it; of Spark's own pages of text, what matters."""
    if isinstance(exc, TillstreamError):
        return _sentence(_first_line(str(exc)) or type(exc).__name__, exc.hint)
    text = str(exc)
    for pattern, what, hint in _KNOWN:
        if found := pattern.search(text):
            return _sentence(what.format(**found.groupdict()), hint)
    return _first_line(text) or type(exc).__name__


def _sentence(what: str, hint: str | None) -> str:
    return f"{what}; try: {hint}" if hint else what


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0][:_LONGEST]
