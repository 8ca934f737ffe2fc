"""Every filter and every page against a plain reading of the same data, with arrivals and deletions between pages."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reflexio_mcp.embedded_store.app import EmbeddedStore
from reflexio_mcp.rest import api_limits
from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.models import RequestPage, RequestQuery
from reflexio_mcp.results.answer_size import Room
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.traffic.content import content_chars
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.reading import listing, paging
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.listing import list_requests, list_sessions
from reflexio_mcp.traffic.scope import Scope
from tests.support.embedded import START, Embedded, embedded

MOST_PAGES = 200
"""No list here has as many: a cursor that never ends fails the comparison instead of hanging."""


@dataclass(frozen=True)
class Stored:
    """One stored request as the model of the test knows it."""

    request_id: str
    user: str
    session: str
    source: str
    version: str
    text: str
    evaluation_only: bool
    at: int


rows = st.builds(
    Stored,
    request_id=st.just(""),
    user=st.sampled_from(["ada", "ben"]),
    session=st.sampled_from(["s1", "s2", "s3", "é"]),
    source=st.sampled_from(["", "ide", "cli:1"]),
    version=st.sampled_from(["agent-v0", "v2"]),
    text=st.sampled_from(["apples", "Pears and apples", "nothing"]),
    evaluation_only=st.booleans(),
    at=st.integers(START, START + 12),
)
filters = st.builds(
    TrafficFilter,
    user_id=st.sampled_from(["", "", "ada"]),
    session_id=st.sampled_from(["", "", "s2"]),
    source=st.sampled_from(["", "", "ide"]),
    agent_version=st.sampled_from(["", "", "v2"]),
    start_time=st.none() | st.integers(START, START + 12),
    end_time=st.none() | st.integers(START, START + 14),
    contains=st.sampled_from(["", "", "APPLES"]),
    evaluation_only=st.sampled_from(["", "", "only", "never"]),
).filter(lambda one: one.start_time is None or one.end_time is None or one.start_time <= one.end_time)


def matches(row: Stored, wanted: TrafficFilter) -> bool:
    return (
        (not wanted.agent_version or row.version == wanted.agent_version)
        and (not wanted.contains or wanted.contains.casefold() in row.text.casefold())
        and (not wanted.evaluation_only or row.evaluation_only is (wanted.evaluation_only == "only"))
    )


def plain_reading(stored: list[Stored], wanted: TrafficFilter) -> list[tuple[str, list[str]]]:
    """Sessions and the request ids in them, in the order the API promises."""
    by_api = [
        row
        for row in stored
        if (not wanted.user_id or row.user == wanted.user_id)
        and (not wanted.session_id or row.session == wanted.session_id)
        and (not wanted.source or row.source == wanted.source)
        and (wanted.start_time is None or row.at >= wanted.start_time)
        and (wanted.end_time is None or row.at <= wanted.end_time)
    ]
    newest = {row.session: max(r.at for r in by_api if r.session == row.session) for row in by_api}
    found: list[tuple[str, list[str]]] = []
    for session, _ in sorted(newest.items(), key=lambda item: (item[1], item[0]), reverse=True):
        inside = [row for row in by_api if row.session == session and matches(row, wanted)]
        inside.sort(key=lambda row: (row.at, row.request_id), reverse=True)
        if inside:
            found.append((session, [row.request_id for row in inside]))
    return found


async def store(place: Embedded, row: Stored) -> None:
    place.clock.now = row.at
    await place.put(
        row.request_id,
        user=row.user,
        session=row.session,
        source=row.source,
        version=row.version,
        text=row.text,
        evaluation_only=row.evaluation_only,
    )


class Narrow(Room):
    """Room for a few rows."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.left = rows

    def take(self, row: object, extra: int = 0) -> bool:
        self.left -= 1
        return self.left >= 0


def narrow(rows: int) -> Callable[[], Room]:
    return lambda: Narrow(rows)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    data=st.lists(rows, max_size=22),
    later=st.lists(rows, max_size=6),
    wanted=filters,
    limit=st.integers(1, 7),
    room=st.integers(1, 5),
)
def test_pages_of_requests_are_the_plain_reading_whatever_arrives(
    data: list[Stored], later: list[Stored], wanted: TrafficFilter, limit: int, room: int
) -> None:
    stored = [replace(row, request_id=f"r{index:03}") for index, row in enumerate(data)]
    arrivals = [replace(row, request_id=f"later{index}") for index, row in enumerate(later)]

    async def compare() -> None:
        async with embedded() as place:
            for row in stored:
                await store(place, row)
            place.clock.now = START + 60
            found: list[tuple[str, list[str]]] = []
            cursor = ""
            for _ in range(MOST_PAGES):
                page = await list_requests(
                    place.scope,
                    TrafficFilter() if cursor else wanted,
                    limit=limit,
                    cursor=cursor,
                    room=narrow(room),
                )
                for group in page.sessions:
                    if not found or found[-1][0] != group.session_id:
                        found.append((group.session_id, []))
                    found[-1][1].extend(one.request_id for one in group.requests)
                if not page.cursor:
                    assert page.looked_at.complete
                    assert page.total == sum(len(ids) for _, ids in found)
                    break
                cursor = page.cursor
                if arrivals:
                    place.clock.now += 1
                    await store(place, replace(arrivals.pop(), at=int(place.clock.now)))
            assert found == plain_reading(stored, wanted)

    asyncio.run(compare())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.lists(rows, max_size=22), wanted=filters, limit=st.integers(1, 3))
def test_pages_of_sessions_are_the_plain_reading(
    data: list[Stored], wanted: TrafficFilter, limit: int
) -> None:
    stored = [replace(row, request_id=f"r{index:03}") for index, row in enumerate(data)]

    async def compare() -> None:
        async with embedded() as place:
            for row in stored:
                await store(place, row)
            place.clock.now = START + 60
            found: list[tuple[str, int]] = []
            cursor = ""
            for _ in range(MOST_PAGES):
                asked = TrafficFilter() if cursor else wanted
                page = await list_sessions(place.scope, asked, limit=limit, cursor=cursor)
                found += [(row.session_id, row.requests) for row in page.sessions]
                if not page.cursor:
                    break
                cursor = page.cursor
            assert found == [(session, len(ids)) for session, ids in plain_reading(stored, wanted)]

    asyncio.run(compare())


@pytest.mark.anyio
@pytest.mark.parametrize("limit", [1, 3, 5])
async def test_deletions_between_pages_skip_nothing_that_is_still_there(limit: int) -> None:
    async with embedded() as place:
        for index in range(12):
            place.clock.now = START + index
            await place.put(f"r{index:02}", session=f"s{index:02}")
        place.clock.now = START + 60
        seen: list[str] = []
        gone = 0
        cursor = ""
        for _ in range(MOST_PAGES):
            page = await list_requests(place.scope, TrafficFilter(), limit=limit, cursor=cursor)
            seen += [one.request_id for one in page.requests]
            if not page.cursor:
                break
            cursor = page.cursor
            # All that was shown but the last goes: every later session moves forward.
            for request_id in seen[gone:-1]:
                gone += 1
                await place.client.delete_requests_by_ids([request_id])
        assert seen == [f"r{index:02}" for index in reversed(range(12))]


@pytest.mark.anyio
async def test_a_page_is_not_cut_while_its_newest_second_is_still_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with embedded() as place:
        for index in range(4):
            await place.put(f"r{index}", session=f"s{index}")
        waited: list[float] = []

        async def arrive_meanwhile(seconds: float) -> None:
            # What a second publisher does in the very second the list froze.
            if not waited:
                await place.put("late", session="s0")
            waited.append(seconds)
            place.clock.now += seconds

        monkeypatch.setattr("reflexio_mcp.traffic.reading.paging.anyio.sleep", arrive_meanwhile)
        seen: list[str] = []
        cursor = ""
        for _ in range(MOST_PAGES):
            page = await list_requests(place.scope, TrafficFilter(), limit=2, cursor=cursor)
            seen += [one.request_id for one in page.requests]
            if not page.cursor:
                break
            cursor = page.cursor
        assert sorted(seen) == ["late", "r0", "r1", "r2", "r3"]
        assert 0 < sum(waited) <= 3


@pytest.mark.anyio
@pytest.mark.parametrize(
    "wanted",
    [
        TrafficFilter(contains="needle"),
        TrafficFilter(agent_version="old"),
        TrafficFilter(evaluation_only="only"),
    ],
    ids=["contains", "agent_version", "evaluation_only"],
)
async def test_a_search_that_reaches_its_limit_says_how_far_it_looked_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, wanted: TrafficFilter
) -> None:
    monkeypatch.setattr(listing, "LOOK_SECONDS", 0)
    async with embedded() as place:
        for index in range(10):
            place.clock.now = START + index
            fields: dict[str, Any] = {"session": f"s{index}", "text": "hay"}
            if index == 0:
                fields |= {"text": "needle", "version": "old", "evaluation_only": True}
            await place.put(f"r{index}", **fields)
        place.clock.now += 60
        page = await list_requests(place.scope, wanted, limit=5)
        assert page.returned == 0
        assert not page.looked_at.complete
        assert page.looked_at.requests == 1
        assert page.facts == [Fact(code=FactCode.NOTHING_FOUND_YET)]
        pages = 1
        while page.cursor:
            page = await list_requests(place.scope, wanted, limit=5, cursor=page.cursor)
            pages += 1
        assert [one.request_id for one in page.requests] == ["r0"]
        assert pages == 10


@pytest.mark.anyio
async def test_the_longest_sessions_come_first_when_asked() -> None:
    async with embedded() as place:
        for index in range(5):
            place.clock.now = START + index
            await place.put(f"r{index}", session=f"s{index}", text="words " * (index % 3 + 1))
        place.clock.now += 60
        page = await list_sessions(place.scope, TrafficFilter(), limit=2, order="longest")
        assert [row.session_id for row in page.sessions] == ["s2", "s4"]
        assert page.total == 5
        assert page.facts == [Fact(code=FactCode.LONGEST_OF, number=5)]
        assert page.cursor is None
        newest = await list_sessions(place.scope, TrafficFilter(), limit=3)
        with pytest.raises(InvalidInput, match="cursor cannot be combined with order=longest"):
            await list_sessions(
                place.scope, TrafficFilter(), limit=2, cursor=newest.cursor or "", order="longest"
            )


@pytest.mark.anyio
async def test_a_scope_hides_everybody_else_on_every_page() -> None:
    async with embedded() as place:
        for index in range(8):
            place.clock.now = START + index
            await place.put(f"r{index}", user="ada" if index % 2 else "ben", session="shared")
        place.clock.now += 60
        everybody = await list_requests(place.scope, TrafficFilter(), limit=3)
        assert everybody.cursor
        ada = Scope(place.client, "ada")
        page = await list_requests(ada, TrafficFilter(user_id="ada"), limit=2)
        rest = await list_requests(ada, TrafficFilter(user_id="ada"), limit=9, cursor=page.cursor or "")
        assert [one.request_id for one in (*page.requests, *rest.requests)] == ["r7", "r5", "r3", "r1"]


@pytest.mark.anyio
@pytest.mark.parametrize("in_process", [True, False], ids=["embedded", "over HTTP"])
async def test_where_sessions_are_long_a_page_has_few_and_the_longest_is_read_with_at_most_one_more(
    in_process: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "PAGE_BYTES", 100_000)
    async with embedded() as place, AsyncExitStack() as stack:
        for number in range(24):
            place.clock.now += 1
            await place.put(
                f"r{number}", session=f"s{number}", text="x" * (300_000 if number == 9 else 20_000)
            )
        place.clock.now += 60
        client = place.client
        if in_process:
            store = EmbeddedStore(":memory:", clock=place.clock)
            stack.push_async_callback(store.aclose)
            client = ReflexioClient("http://store", transport=store)
            stack.push_async_callback(client.aclose)
            for group in reversed((await place.client.get_requests(RequestQuery(top_k=100))).sessions):
                for item in group.requests:
                    item.request.whole = True
                    await client.put_back(item)
        pages: list[tuple[int, int]] = []
        read = client.get_requests

        async def noted(query: RequestQuery, **options: Any) -> RequestPage:
            page = await read(query, **options)
            items = [item for group in page.sessions for item in group.requests]
            pages.append((len(page.sessions), sum(map(content_chars, items))))
            return page

        monkeypatch.setattr(client, "get_requests", noted)
        pager = paging.SessionPager(Scope(client, learns=False, embedded=in_process), TrafficFilter())
        found = [item.request.request_id async for part in pager.parts() for item in part.requests]
    assert found == [f"r{number}" for number in reversed(range(24))]
    assert len(pages) <= 24
    assert max(size for sessions, size in pages if sessions > 2) <= 100_000
    assert max(sessions for sessions, size in pages if size >= 300_000) == 2


@pytest.mark.anyio
async def test_the_next_list_of_a_user_begins_with_as_many_long_sessions_as_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(paging, "PAGE_BYTES", 100_000)
    async with embedded() as place:
        for number in range(12):
            place.clock.now += 1
            await place.put(f"r{number}", session=f"s{number}", text="x" * 20_000)
        place.clock.now += 60
        asked: list[list[int]] = []
        read = place.client.get_requests

        async def noted(query: RequestQuery, **options: Any) -> RequestPage:
            asked[-1].append(query.top_k)
            return await read(query, **options)

        monkeypatch.setattr(place.client, "get_requests", noted)
        for _ in range(2):
            asked.append([])
            pager = paging.SessionPager(Scope(place.client, learns=False), TrafficFilter())
            found = [item.request.request_id async for part in pager.parts() for item in part.requests]
            assert found == [f"r{number}" for number in reversed(range(12))]
    assert asked[0][0] == paging.SESSIONS_AT_FIRST_OVER_HTTP + 1
    assert max(asked[1]) <= 5


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("requests", "chars", "most"),
    [(300, 10_000, 1_000_000), pytest.param(3_000, 25_000, api_limits.MAX_REPLY_BYTES, marks=pytest.mark.ci)],
    ids=["a short limit", "the limit"],
)
async def test_a_session_that_is_longer_than_a_reply_is_listed_whole_among_the_others(
    requests: int, chars: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_limits, "MAX_REPLY_BYTES", most)
    monkeypatch.setattr(paging, "PAGE_BYTES", min(paging.PAGE_BYTES, most // 2))
    async with embedded() as place:
        await place.put("before", session="before")
        for number in range(requests):
            place.clock.now += 40
            await place.put(f"r{number}", session="long", text="x" * chars)
        place.clock.now += 100_000
        await place.put("after", session="after")
        place.clock.now += 60
        page = await list_sessions(Scope(place.client, learns=False), TrafficFilter(), limit=20)
    assert [(row.session_id, row.requests) for row in page.sessions] == [
        ("after", 1),
        ("long", requests),
        ("before", 1),
    ]
    assert page.looked_at.complete
    assert not page.unreadable
