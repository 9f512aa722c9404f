"""Who writes facts now, when several processes could: executors, and a driver that was replaced.

Spark gives up on an executor that it cannot hear, and an operator on a driver, but such a one may
still work. So whoever takes over writes a new token into the commit log first, then waits for
inserts that are under way (`streaming.recovery`), and everyone asks for the token before each round
of inserts.
"""

import time

from clickhouse import queries
from clickhouse.client import Client
from clickhouse.writer import insert
from streaming.rows import commit_rows
from tillstream.errors import IntegrityError

# The row of `stream_commits` that holds the token, in place of an offset.
WRITER = "writer"


class Superseded(IntegrityError):
    """Somebody else writes by now: whoever goes on would count twice."""


def take_over(client: Client) -> int:
    """Become the writer. Returns the token, which is higher than any before."""
    token = max(time.time_ns() // 1_000_000, (_current(client) or 0) + 1)
    cut = queries.Cut(topic="", topic_id="", partition=0, next_offset=token)
    insert(client, "stream_commits", commit_rows(WRITER, [cut], batch_id=-1))
    return token


def require_writer(client: Client, token: int) -> None:
    """Raises Superseded unless `token` is the newest."""
    current = _current(client)
    if current != token:
        raise Superseded(
            f"another stream has taken over (token {current}, ours is {token})",
            hint="one stream writes to a database; the older one leaves off by itself",
        )


def _current(client: Client) -> int | None:
    rows = queries.select(
        client,
        "SELECT max(next_offset) AS token, count() AS n FROM stream_commits"
        " WHERE query = {writer:String}",
        parameters={"writer": WRITER},
    ).to_pylist()[0]
    return int(rows["token"]) if rows["n"] else None
