"""Which answers of the warehouse are given again, to whom, and for how long."""

import asyncio
import io
from dataclasses import replace

import pytest

from tillstream.devstack.warehouse.cache import AnswerCache
from tillstream.devstack.warehouse.engine import Reply
from tillstream.devstack.warehouse.errors import QueryError
from tillstream.devstack.warehouse.request import QueryRequest, build_request

REPLY = Reply(memoryview(b"1"), "JSON", read_rows=7, elapsed_ns=60_000_000, owner=object())


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def question(sql: str = "SELECT 1", **params: str) -> QueryRequest:
    asked = {"query": sql, "query_id": "q", "use_query_cache": "1", **params}
    return build_request(method="POST", headers={}, params=asked, body=io.BytesIO(), files={})


def test_an_answer_is_given_again_until_its_time_is_over() -> None:
    clock = Clock()
    cache = AnswerCache(clock=clock)
    asked = question(query_cache_ttl="15")
    assert cache.find(asked) is None
    cache.keep(asked, b"1\n", REPLY)
    clock.now_s += 14.5
    kept = cache.find(replace(asked, query_id="another"))
    assert kept is not None
    assert (kept.body, kept.reply.read_rows, cache.age_s(kept)) == (b"1\n", 7, 14)
    assert kept.reply.body is None
    assert kept.reply.owner is None
    clock.now_s += 0.5
    assert cache.find(asked) is None


def test_a_server_keeps_answers_for_a_minute_when_nothing_is_said() -> None:
    clock = Clock()
    cache = AnswerCache(clock=clock)
    cache.keep(question(), b"1\n", REPLY)
    clock.now_s += 59
    assert cache.find(question()) is not None
    clock.now_s += 1
    assert cache.find(question()) is None


@pytest.mark.parametrize(
    "other",
    [
        question("SELECT 2"),
        question(database="other"),
        question(default_format="JSON"),
        question(param_store="1"),
        question(max_rows_to_read="1"),
        question(client_protocol_version="54405"),
    ],
    ids=lambda other: str(other.settings | other.parameters),
)
def test_another_question_has_another_answer(other: QueryRequest) -> None:
    cache = AnswerCache()
    cache.keep(question(), b"1\n", REPLY)
    assert cache.find(other) is None
    cache.keep(other, b"2\n", REPLY)
    kept = cache.find(question())
    assert kept is not None
    assert kept.body == b"1\n"


@pytest.mark.parametrize(
    "asked",
    [
        question(use_query_cache="0"),
        question("SHOW TABLES"),
        question("INSERT INTO t SELECT 1"),
        question(session_id="s"),
        question(query_cache_min_query_duration="61"),
        question(query_cache_system_table_handling="ignore"),
    ],
    ids=["not asked for", "no SELECT", "a write", "in a session", "too quick", "perhaps not"],
)
def test_some_answers_are_always_made(asked: QueryRequest) -> None:
    cache = AnswerCache()
    cache.keep(asked, b"1\n", REPLY)
    assert cache.find(asked) is None


def test_an_answer_that_took_long_enough_is_kept() -> None:
    cache = AnswerCache()
    asked = question(query_cache_min_query_duration="60")
    cache.keep(asked, b"1\n", REPLY)
    assert cache.find(asked) is not None


def test_who_asks_what_is_being_answered_waits_for_it() -> None:
    async def run(keeps: bool) -> list[str]:
        cache, asked, told = AnswerCache(), question(), []
        begun = asyncio.Event()

        async def first() -> None:
            async with cache.answering(asked) as kept:
                assert kept is None
                begun.set()
                await asyncio.sleep(0)
                told.append("first")
                if keeps:
                    cache.keep(asked, b"1\n", REPLY)

        async def another() -> None:
            await begun.wait()
            async with cache.answering(question()) as kept:
                told.append("made" if kept is None else kept.body.decode().strip())

        await asyncio.gather(first(), another(), another())
        return told

    assert asyncio.run(run(keeps=True)) == ["first", "1", "1"]
    assert asyncio.run(run(keeps=False)) == ["first", "made", "made"]


def test_the_next_one_makes_an_answer_that_failed() -> None:
    async def run() -> None:
        cache, asked = AnswerCache(), question()
        with pytest.raises(QueryError):
            async with cache.answering(asked):
                raise QueryError(159, "too slow")
        async with cache.answering(asked) as kept:
            assert kept is None

    asyncio.run(run())


def test_the_oldest_answers_make_room() -> None:
    cache = AnswerCache(max_bytes=10)
    for number in range(4):
        cache.keep(question(f"SELECT {number}"), b"1234", REPLY)
    found = [cache.find(question(f"SELECT {number}")) is not None for number in range(4)]
    assert found == [False, False, True, True]
    # The same question again takes no more room than once.
    for _ in range(5):
        cache.keep(question("SELECT 3"), b"1234", REPLY)
    assert cache.find(question("SELECT 2")) is not None
    cache.keep(question("SELECT 9"), b"x" * 11, REPLY)
    assert cache.find(question("SELECT 9")) is None


def test_a_time_that_is_no_number_is_refused() -> None:
    with pytest.raises(QueryError, match="query_cache_ttl: 'soon' is no number"):
        AnswerCache().keep(question(query_cache_ttl="soon"), b"1", REPLY)
