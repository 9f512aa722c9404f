"""Answers that may be given again, as by ClickHouse's query cache, which the embedded engine lacks.

A caller asks for it with `use_query_cache`; `query_cache_ttl` (seconds, 60) and
`query_cache_min_query_duration` (milliseconds, 0) mean what they mean there. As there, an answer is
as old as it is: what is stored meanwhile does not drop it. The engine itself refuses to have
`now()` or a system table kept, unless `query_cache_nondeterministic_function_handling` and
`query_cache_system_table_handling` say `save`. Where one says `ignore`, nothing is kept here: only
the engine knows whether there was something to ignore. Unlike there, who asks what is just being
answered waits for that answer.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from tillstream.devstack.warehouse.engine import Reply
from tillstream.devstack.warehouse.errors import QueryError
from tillstream.devstack.warehouse.request import QueryRequest, is_on

_MAX_BYTES = 64 << 20
_CANNOT_PARSE = 72
_HANDLING = ("query_cache_nondeterministic_function_handling", "query_cache_system_table_handling")

_Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """A whole answer before it is encoded. `at_s` is when the query had ended."""

    body: bytes
    reply: Reply
    at_s: float
    until_s: float


class AnswerCache:
    """The newest answers, `max_bytes` of them. All calls come from one thread."""

    def __init__(
        self, *, max_bytes: int = _MAX_BYTES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._kept: OrderedDict[_Key, Kept] = OrderedDict()
        self._bytes = 0
        self._under_way: dict[_Key, asyncio.Event] = {}

    @asynccontextmanager
    async def answering(self, request: QueryRequest) -> AsyncIterator[Kept | None]:
        """The kept answer; None for who is to make it. Others who ask the same within the block
        wait for its end, and then make their own if none was kept."""
        key = _key(request)
        under_way = None if key is None else self._under_way.get(key)
        if under_way is not None:
            await under_way.wait()
        kept = self._find(key)
        if kept is not None or key is None or key in self._under_way:
            yield kept
            return
        done = self._under_way[key] = asyncio.Event()
        try:
            yield None
        finally:
            del self._under_way[key]
            done.set()

    def find(self, request: QueryRequest) -> Kept | None:
        """The answer to the same question, if its caller takes one and there is one."""
        return self._find(_key(request))

    def keep(self, request: QueryRequest, body: bytes, reply: Reply) -> None:
        """Remember an answer that its caller wants remembered, and that took long enough. Raises
        QueryError for settings that are no numbers."""
        key = _key(request)
        if key is None:
            return
        least_ms = _number(request.settings, "query_cache_min_query_duration", 0)
        if reply.elapsed_ns < least_ms * 1_000_000:
            return
        now_s = self._clock()
        until_s = now_s + _number(request.settings, "query_cache_ttl", 60)
        # The engine's own memory of the answer is not held on to.
        kept = Kept(body, replace(reply, body=None, owner=None), now_s, until_s)
        self._drop(key)
        self._kept[key] = kept
        self._bytes += len(body)
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._kept)))

    def age_s(self, kept: Kept) -> int:
        return int(self._clock() - kept.at_s)

    def _find(self, key: _Key | None) -> Kept | None:
        kept = None if key is None else self._kept.get(key)
        return kept if kept is not None and self._clock() < kept.until_s else None

    def _drop(self, key: _Key) -> None:
        gone = self._kept.pop(key, None)
        if gone is not None:
            self._bytes -= len(gone.body)


def _key(request: QueryRequest) -> _Key | None:
    """What makes two questions the same; None for one whose answer must be made."""
    if not request.statement.is_select or not is_on(request.settings.get("use_query_cache")):
        return None
    if request.session is not None or request.tables:
        return None
    if any(request.settings.get(name) == "ignore" for name in _HANDLING):
        return None
    return (
        request.sql,
        request.default_format,
        request.database,
        request.answer.revision,
        frozenset(request.settings.items()),
        frozenset(request.parameters.items()),
    )


def _number(settings: Mapping[str, str], name: str, default: int) -> int:
    given = settings.get(name, str(default))
    if not given.isdigit():
        raise QueryError(_CANNOT_PARSE, f"Cannot parse setting {name}: '{given}' is no number")
    return int(given)
