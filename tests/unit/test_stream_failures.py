"""Why a query stopped, as the log and `tillstream status` tell it."""

import pytest

from streaming.failures import why
from tillstream.errors import ServiceError

_SPARK = (
    "[STREAM_FAILED] Query [id = 1, runId = 2] terminated with exception: Job aborted due to stage "
    "failure: Task 0 in stage 1.0 failed 1 times, most recent failure: {} SQLSTATE: XXKST\n"
    "=== Streaming Query ===\nIdentifier: live\n"
)


@pytest.mark.parametrize(
    ("cause", "said", "setting"),
    [
        (
            "org.apache.kafka.common.errors.TopicAuthorizationException: "
            "Not authorized to access topics: [retail-price-changes]",
            "Kafka: the stream's user may not read retail-price-changes; try: ",
            "TILLSTREAM_KAFKA__USERNAME",
        ),
        (
            "org.apache.kafka.common.errors.SaslAuthenticationException: Authentication failed",
            "Kafka refused the stream's user or password; try: ",
            "TILLSTREAM_KAFKA__PASSWORD",
        ),
        (
            "org.apache.kafka.common.errors.SslAuthenticationException: SSL handshake failed",
            "Kafka's certificate is not trusted, or not for this address; try: ",
            "TILLSTREAM_KAFKA__CA_FILE",
        ),
        (
            "java.io.IOException: No space left on device",
            "the disk of Spark's scratch folder is full; try: ",
            "spark/",
        ),
    ],
)
def test_of_sparks_pages_the_cause_and_its_setting_are_told(
    cause: str, said: str, setting: str
) -> None:
    told = why(RuntimeError(_SPARK.format(cause)))
    assert told.startswith(said)
    assert setting in told
    assert "\n" not in told


def test_an_error_of_ours_is_told_with_what_to_do() -> None:
    assert why(ServiceError("the disk is full\nat x", hint="free some")) == (
        "the disk is full; try: free some"
    )
    assert why(ServiceError("gone")) == "gone"


def test_anything_else_is_told_by_its_first_line() -> None:
    assert why(RuntimeError("\n one\ntwo")) == "one"
    assert why(RuntimeError()) == "RuntimeError"
    assert len(why(RuntimeError("x" * 5_000))) == 300
