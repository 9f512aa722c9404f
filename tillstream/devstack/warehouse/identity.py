"""Lets a caller find its queries by the ids and texts it gave them.

The embedded engine gives every query an id of its own; the caller's travels as `log_comment`.
"""

from tillstream.devstack.warehouse.descriptors import CLAUSE
from tillstream.devstack.warehouse.statement import Statement, quote_text, tokens

_ID = "Settings['log_comment']"
_PROCESSES = (
    f"(SELECT * REPLACE ({_ID} AS query_id, replaceRegexpAll(query, {quote_text(CLAUSE.pattern)},"
    " '') AS query) FROM system.processes)"
)


def with_own_ids(sql: str, statement: Statement) -> str:
    """`sql` with the caller's ids in KILL QUERY and in `system.processes`."""
    if not statement.is_kill and "processes" not in sql.lower():
        return sql
    text = sql.encode()
    pieces: list[bytes] = []
    done = 0
    trail = [(b"", 0)] * 3
    for token in tokens(text):
        word = token.text.lower()
        start, replacement = token.start, ""
        if statement.is_kill and word == b"query_id":
            replacement = _ID
        elif word == b"processes" and _reads_system([before for before, _ in trail]):
            start, replacement = trail[1][1], _PROCESSES
        if replacement:
            pieces += [text[done:start], replacement.encode()]
            done = token.end
        trail = [*trail[1:], (word, token.start)]
    return b"".join([*pieces, text[done:]]).decode()


def _reads_system(before: list[bytes]) -> bool:
    """Whether a table of `system` is read here: a GRANT, for one, names it without reading it."""
    return before[0] in (b"from", b"join") and before[1:] == [b"system", b"."]
