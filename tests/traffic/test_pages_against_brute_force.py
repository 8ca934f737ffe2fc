"""Every filter and every page against a plain reading of the same data, with arrivals between the pages."""

import asyncio
import random
from dataclasses import dataclass, replace
from itertools import chain, groupby
from typing import Any, TypeVar

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.errors import NotTheApi
from reflexio_mcp.rest.models import (
    RequestPage,
    RequestQuery,
    RequestWithInteractions,
    SessionGroup,
    StoredRequest,
)
from reflexio_mcp.traffic.reading import paging
from reflexio_mcp.traffic.reading.cursors import open_cursor
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.gaps import Gap
from reflexio_mcp.traffic.reading.listing import list_requests, list_sessions
from reflexio_mcp.traffic.reading.paging import SessionPager
from reflexio_mcp.traffic.scope import Scope
from tests.support.embedded import START, Embedded, embedded

T = TypeVar("T")

MOST_PAGES = 200
"""No list here has as many: a cursor that never ends fails the comparison instead of hanging."""


@dataclass(frozen=True)
class Row:
    """One stored request as the model of the test knows it."""

    request_id: str
    user: str
    session: str
    source: str
    version: str
    text: str
    at: int


class Unlimited:
    """Room for everything."""

    def take(self, row: Any, /) -> bool:
        return True

    def clear(self) -> None:
        pass


class Narrow:
    """Room for a few rows."""

    def __init__(self, rows: int) -> None:
        self.rows, self.taken = rows, 0

    def take(self, row: Any, /) -> bool:
        self.taken += 1
        return self.taken <= self.rows

    def clear(self) -> None:
        self.taken = 0


rows = st.builds(
    Row,
    request_id=st.just(""),
    user=st.sampled_from(["ada", "ben"]),
    session=st.sampled_from(["s1", "s2", "s3", "é"]),
    source=st.sampled_from(["", "ide", "cli:1"]),
    version=st.sampled_from(["agent-v0", "v2"]),
    text=st.sampled_from(["apples", "Pears and apples", "nothing"]),
    at=st.integers(START, START + 12),
)
filters = st.builds(
    TrafficFilter,
    user_id=st.sampled_from(["", "", "ada"]),
    session_id=st.sampled_from(["", "", "s2"]),
    source=st.sampled_from(["", "", "ide"]),
    agent_version=st.sampled_from(["", "", "v2"]),
    start=st.none() | st.integers(START, START + 12),
    end=st.none() | st.integers(START, START + 14),
    contains=st.sampled_from(["", "", "APPLES"]),
).filter(lambda one: one.start is None or one.end is None or one.start <= one.end)


def brute_force(stored: list[Row], wanted: TrafficFilter) -> list[tuple[str, list[str]]]:
    """Sessions and the request ids in them, in the order the API promises."""
    by_api = [
        row
        for row in stored
        if (not wanted.user_id or row.user == wanted.user_id)
        and (not wanted.session_id or row.session == wanted.session_id)
        and (not wanted.source or row.source == wanted.source)
        and (wanted.start is None or row.at >= wanted.start)
        and (wanted.end is None or row.at <= wanted.end)
    ]
    newest = {row.session: max(r.at for r in by_api if r.session == row.session) for row in by_api}
    result: list[tuple[str, list[str]]] = []
    for session, _ in sorted(newest.items(), key=lambda item: (item[1], item[0]), reverse=True):
        inside = sorted(
            (row for row in by_api if row.session == session),
            key=lambda row: (row.at, row.request_id),
            reverse=True,
        )
        ids = [
            row.request_id
            for row in inside
            if (not wanted.agent_version or row.version == wanted.agent_version)
            and (not wanted.contains or wanted.contains.casefold() in row.text.casefold())
        ]
        if ids:
            result.append((session, ids))
    return result


def ties_by_id(found: list[tuple[str, T]], stored: list[Row], wanted: TrafficFilter) -> list[tuple[str, T]]:
    """What was found, with sessions of one second in the API's order: whether they stand by arrival, pages decide."""
    of_api = replace(wanted, agent_version="", contains="")
    newest: dict[str, int] = {}
    for session, ids in brute_force(stored, of_api):
        newest[session] = max(row.at for row in stored if row.request_id in ids)
    ordered: list[tuple[str, T]] = []
    for _, tied in groupby(found, lambda one: newest[one[0]]):
        ordered += sorted(tied, key=lambda one: one[0], reverse=True)
    return ordered


async def store(place: Embedded, row: Row) -> None:
    place.clock.now = row.at
    await place.put(
        row.request_id,
        user=row.user,
        session=row.session,
        source=row.source,
        version=row.version,
        text=row.text,
    )


async def pages_of_requests(
    place: Embedded, wanted: TrafficFilter, limit: int, budget: int, arrivals: list[Row]
) -> list[tuple[str, list[str]]]:
    found: list[tuple[str, list[str]]] = []
    after = None
    for _ in range(MOST_PAGES):
        page = await list_requests(
            place.scope, after.filter if after else wanted, limit=limit, budget=Narrow(budget), after=after
        )
        for item in page.rows:
            if not found or found[-1][0] != item.request.session_id:
                found.append((item.request.session_id, []))
            found[-1][1].append(item.request.request_id)
        if page.cursor is None:
            return found
        after = open_cursor(place.scope, page.cursor, "requests", TrafficFilter())
        if arrivals:
            place.clock.now += 1
            await store(place, replace(arrivals.pop(), at=int(place.clock.now)))
    raise AssertionError("the pages never end")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    data=st.lists(rows, max_size=22),
    later=st.lists(rows, max_size=6),
    wanted=filters,
    limit=st.integers(1, 7),
    budget=st.integers(1, 5),
)
def test_pages_of_requests_are_the_brute_force_reading_whatever_arrives(
    data: list[Row], later: list[Row], wanted: TrafficFilter, limit: int, budget: int
) -> None:
    stored = [replace(row, request_id=f"r{index:03}") for index, row in enumerate(data)]
    arrivals = [replace(row, request_id=f"later{index}") for index, row in enumerate(later)]

    async def compare() -> None:
        async with embedded() as place:
            for row in stored:
                await store(place, row)
            place.clock.now = START + 60
            found = await pages_of_requests(place, wanted, limit, budget, arrivals)
            assert ties_by_id(found, stored, wanted) == brute_force(stored, wanted)

    asyncio.run(compare())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    data=st.lists(rows, max_size=22),
    later=st.lists(rows, max_size=4),
    wanted=filters,
    limit=st.integers(1, 3),
)
def test_pages_of_sessions_are_the_brute_force_reading_whatever_arrives(
    data: list[Row], later: list[Row], wanted: TrafficFilter, limit: int
) -> None:
    stored = [replace(row, request_id=f"r{index:03}") for index, row in enumerate(data)]
    arrivals = [replace(row, request_id=f"later{index}") for index, row in enumerate(later)]

    async def compare() -> None:
        async with embedded() as place:
            for row in stored:
                await store(place, row)
            place.clock.now = START + 60
            found: list[tuple[str, int]] = []
            after = None
            for _ in range(MOST_PAGES):
                page = await list_sessions(
                    place.scope,
                    after.filter if after else wanted,
                    limit=limit,
                    budget=Unlimited(),
                    after=after,
                )
                found += [(row.session_id, row.requests) for row in page.rows]
                if page.cursor is None:
                    break
                after = open_cursor(place.scope, page.cursor, "sessions", TrafficFilter())
                if arrivals:
                    place.clock.now += 1
                    await store(place, replace(arrivals.pop(), at=int(place.clock.now)))
            expected = [(session, len(ids)) for session, ids in brute_force(stored, wanted)]
            assert ties_by_id(found, stored, wanted) == expected

    asyncio.run(compare())


@pytest.mark.anyio
@pytest.mark.parametrize("limit", [1, 2, 3, 5])
async def test_deletions_between_pages_skip_nothing_that_is_still_there(limit: int) -> None:
    async with embedded() as place:
        for index in range(12):
            place.clock.now = START + index
            await place.put(f"r{index:02}", session=f"s{index:02}")
        place.clock.now = START + 60
        seen: list[str] = []
        gone: list[str] = []
        after = None
        for _ in range(MOST_PAGES):
            page = await list_requests(
                place.scope, TrafficFilter(), limit=limit, budget=Unlimited(), after=after
            )
            seen += [item.request.request_id for item in page.rows]
            if page.cursor is None:
                break
            after = open_cursor(place.scope, page.cursor, "requests", TrafficFilter())
            # All that was shown but the last goes: every later session moves forward.
            for request_id in seen[len(gone) : -1]:
                gone.append(request_id)
                await place.client.delete_request(request_id)
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
        after = None
        for _ in range(MOST_PAGES):
            page = await list_requests(place.scope, TrafficFilter(), limit=2, budget=Narrow(2), after=after)
            seen += [item.request.request_id for item in page.rows]
            if page.cursor is None:
                break
            after = open_cursor(place.scope, page.cursor, "requests", TrafficFilter())
        assert sorted(seen) == ["late", "r0", "r1", "r2", "r3"]
        assert sum(waited) <= 3


@pytest.mark.anyio
@pytest.mark.parametrize(("later", "waits"), [(0, True), (1, True), (2, False)])
async def test_a_second_is_closed_when_a_whole_one_lies_behind_it(
    later: int, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with embedded() as place:
        for index in range(2):
            await place.put(f"r{index}", session=f"s{index}")
        place.clock.now += later
        waited: list[float] = []

        async def sleep(seconds: float) -> None:
            waited.append(seconds)
            place.clock.now += seconds

        monkeypatch.setattr("reflexio_mcp.traffic.reading.paging.anyio.sleep", sleep)
        page = await list_requests(place.scope, TrafficFilter(), limit=1, budget=Unlimited())
        assert page.cursor
        assert bool(waited) is waits


@pytest.mark.anyio
async def test_of_sessions_that_are_equally_long_the_newest_come_first() -> None:
    async with embedded() as place:
        for index in range(5):
            place.clock.now = START + index
            await place.put(f"r{index}", session=f"s{index}")
        page = await list_sessions(place.scope, TrafficFilter(), limit=2, budget=Unlimited(), order="longest")
        assert [row.session_id for row in page.rows] == ["s4", "s3"]


async def listed(place: Embedded, limit: int, room: int = 1_000) -> list[list[str]]:
    """The sessions of each page."""
    pages: list[list[str]] = []
    after = None
    while len(pages) < MOST_PAGES:
        page = await list_sessions(
            place.scope, TrafficFilter(), limit=limit, budget=Narrow(room), after=after
        )
        pages.append([row.session_id for row in page.rows])
        if page.cursor is None:
            return pages
        after = open_cursor(place.scope, page.cursor, "sessions", TrafficFilter())
    raise AssertionError("the pages never end")


@pytest.mark.anyio
async def test_sessions_of_one_second_stand_in_the_order_of_arrival_where_a_page_has_them_all() -> None:
    async with embedded() as place:
        place.clock.now = START
        await place.put("old", session="old")
        place.clock.now = START + 10
        arrived = [f"z{number}" for number in (3, 8, 1, 6, 2, 7, 4, 5)]
        for name in arrived:
            await place.put(f"r-{name}", session=name)
        # Its first request came first, its newest one last.
        await place.put("again", session="z8")
        place.clock.now = START + 20
        await place.put("new", session="new")
        place.clock.now = START + 60
        expected = ["new", "z8", "z5", "z4", "z7", "z2", "z6", "z1", "z3", "old"]
        assert await listed(place, 20) == [expected]
        assert await listed(place, 9) == [expected[:9], expected[9:]]
        for room in range(1, 9):
            # A page that ends in the middle of them goes on in the same order, whatever is asked for then.
            assert list(chain(*await listed(place, 20, room))) == expected
        # Of more than a page holds, the API tells the order: by id.
        by_id = ["new", *sorted(arrived, reverse=True), "old"]
        assert list(chain(*await listed(place, 3))) == by_id


@pytest.mark.anyio
async def test_a_page_cut_among_sessions_of_one_second_skips_nothing_when_its_limit_changes_or_some_go() -> (
    None
):
    async with embedded() as place:
        place.clock.now = START
        names = [f"{number * 7 % 40:02}" for number in range(40)]
        for name in names:
            await place.put(f"r-{name}", session=name)
        place.clock.now = START + 60
        page = await list_sessions(place.scope, TrafficFilter(), limit=50, budget=Narrow(15))
        shown = [row.session_id for row in page.rows]
        assert shown == names[:-16:-1]
        for gone in (names[-1], names[-15], names[10]):
            await place.client.delete_request(f"r-{gone}")
        while page.cursor:
            after = open_cursor(place.scope, page.cursor, "sessions", TrafficFilter())
            page = await list_sessions(place.scope, after.filter, limit=4, budget=Unlimited(), after=after)
            shown += [row.session_id for row in page.rows]
        assert shown == [name for name in reversed(names) if name != names[10]]


@pytest.mark.anyio
@pytest.mark.parametrize("newer", [0, 150])
@pytest.mark.parametrize("tied", [49, 99, 130])
async def test_of_many_sessions_of_one_second_none_is_skipped_or_repeated(newer: int, tied: int) -> None:
    async with embedded() as place:
        chance = random.Random(newer + tied)
        names = [f"t{number:03}" for number in range(tied)]
        chance.shuffle(names)
        place.clock.now = START
        await place.put("r-old", session="old")
        place.clock.now = START + 1
        for name in names:
            await place.put(f"r-{name}", session=name)
        for number in range(newer):
            place.clock.now = START + 2 + number
            await place.put(f"r-n{number:03}", session=f"n{number:03}")
        place.clock.now = START + 1_000
        left = {"old", *names, *(f"n{number:03}" for number in range(newer))}
        shown: list[str] = []
        after = None
        while len(shown) <= newer + tied:
            limit, room = chance.choice([(100, 100), (100, 1), (100, 20), (60, 7), (3, 3)])
            page = await list_sessions(
                place.scope, TrafficFilter(), limit=limit, budget=Narrow(room), after=after
            )
            shown += [row.session_id for row in page.rows]
            if page.cursor is None:
                break
            after = open_cursor(place.scope, page.cursor, "sessions", TrafficFilter())
            # One that was shown goes, which moves the others, and now and then one that was not.
            for one in [chance.choice(shown), chance.choice(sorted(left))][: chance.choice([0, 1, 1, 2])]:
                await place.client.delete_request(f"r-{one}")
                left.discard(one)
        assert len(shown) == len(set(shown))
        assert left <= set(shown)


@pytest.mark.anyio
async def test_a_page_that_a_deletion_moves_back_has_all_sessions_of_the_second_it_goes_on_in() -> None:
    async with embedded() as place:
        # The API's order is the reverse of that of their arrival.
        tied = [f"t{number:02}" for number in range(49, 0, -1)]
        newer = [f"n{number:03}" for number in range(150)]
        stored = [("old", 0), *((name, 1) for name in tied), *zip(newer, range(2, 152), strict=True)]
        for name, second in stored:
            place.clock.now = START + second
            await place.put(f"r-{name}", session=name)
        place.clock.now = START + 1_000
        shown: list[str] = []
        after = None
        for room in (100, 52, 1, 100, 100):
            page = await list_sessions(
                place.scope, TrafficFilter(), limit=100, budget=Narrow(room), after=after
            )
            shown += [row.session_id for row in page.rows]
            if page.cursor is None:
                break
            after = open_cursor(place.scope, page.cursor, "sessions", TrafficFilter())
            if room == 52:
                await place.client.delete_request("r-n149")
        assert shown == [name for name, _ in reversed(stored)]


@pytest.mark.anyio
async def test_a_deletion_that_moves_a_cut_second_onto_one_page_leaves_its_order() -> None:
    async with embedded() as place:
        stored = [("old", 0), ("t3", 1), ("t2", 1), ("t1", 1), ("n1", 2), ("n2", 3), ("n3", 4)]
        for name, second in stored:
            place.clock.now = START + second
            await place.put(f"r-{name}", session=name)
        place.clock.now = START + 60
        pager = SessionPager(place.scope, TrafficFilter(), batch=4)
        shown: list[str] = []
        async for part in pager.slices():
            shown.append(part.session_id)
            if part.session_id == "t2":
                await place.client.delete_request("r-n1")
                await place.client.delete_request("r-n2")
            if part.session_id == "t1":
                after = pager.cursor("sessions", part, None)
                break
        else:
            raise AssertionError("t1 was skipped")
        again = SessionPager(place.scope, TrafficFilter(), after=after)
        shown += [part.session_id async for part in again.slices()]
        assert shown == ["n3", "n2", "n1", "t3", "t2", "t1", "old"]


@pytest.mark.anyio
async def test_a_session_that_cannot_be_read_does_not_end_a_second_that_goes_on_behind_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = paging.read_page

    async def without_t2(scope: Scope, query: RequestQuery) -> tuple[RequestPage, dict[str, Gap]]:
        page, gaps = await real(scope, query)
        for group in page.sessions:
            if group.session_id == "t2":
                group.requests.clear()
        return page, gaps

    monkeypatch.setattr(paging, "read_page", without_t2)
    async with embedded() as place:
        for name, second in [("old", 0), *((f"t{number}", 1) for number in (5, 4, 3, 2, 1)), ("new", 2)]:
            place.clock.now = START + second
            await place.put(f"r-{name}", session=name)
        place.clock.now = START + 60
        shown: list[str] = []
        after = None
        while len(shown) < 7:
            pager = SessionPager(place.scope, TrafficFilter(), after=after, batch=4)
            part = await anext(pager.slices(), None)
            if part is None:
                break
            shown.append(part.session_id)
            after = pager.cursor("sessions", part, None)
        assert sorted(shown) == ["new", "old", "t1", "t3", "t4", "t5"]


@pytest.mark.anyio
async def test_a_pass_takes_one_call_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    async with embedded() as place:
        for index in range(30):
            place.clock.now = START + index
            await place.put(f"r{index:02}", session=f"s{index:02}")
        asked: list[int] = []
        ask = place.client.get_requests

        async def counted(query: RequestQuery) -> RequestPage:
            asked.append(query.offset)
            return await ask(query)

        monkeypatch.setattr(place.client, "get_requests", counted)
        pager = SessionPager(place.scope, TrafficFilter(), batch=9)
        seen = [part.session_id async for part in pager.slices()]
        assert seen == [f"s{index:02}" for index in reversed(range(30))]
        # One session of each page is asked for again, to see whether the pages have shifted.
        assert asked == [0, 9, 18, 27]


@pytest.mark.anyio
async def test_a_huge_session_is_cut_inside() -> None:
    async with embedded() as place:
        for index in range(30):
            place.clock.now = START + index // 3
            await place.put(f"r{index:02}", session="one")
        place.clock.now = START + 60
        seen: list[str] = []
        rests: list[int] = []
        after = None
        for _ in range(MOST_PAGES):
            page = await list_requests(place.scope, TrafficFilter(), limit=7, budget=Unlimited(), after=after)
            seen += [item.request.request_id for item in page.rows]
            rests.append(page.rest_of_session)
            if page.cursor is None:
                break
            after = open_cursor(place.scope, page.cursor, "requests", TrafficFilter())
        assert seen == [f"r{index:02}" for index in reversed(range(30))]
        assert rests == [23, 16, 9, 2, 0]


@pytest.mark.anyio
async def test_a_finding_is_judged_by_the_whole_session_on_every_page() -> None:
    async with embedded() as place:
        for number, user in enumerate(("ada", "ada", "ben")):
            place.clock.now += 60
            await place.put(f"r{number}", user=user)
        place.clock.now += 60
        wanted, shown, cursor = TrafficFilter(finding="shared-session"), list[str](), ""
        for _ in range(3):
            after = open_cursor(place.scope, cursor, "requests", wanted) if cursor else None
            page = await list_requests(place.scope, wanted, limit=1, budget=Unlimited(), after=after)
            shown += [item.request.request_id for item in page.rows]
            cursor = page.cursor
        assert shown == ["r2", "r1", "r0"]
        assert not cursor


@pytest.mark.anyio
async def test_a_scope_hides_everybody_else_on_every_page() -> None:
    async with embedded() as place:
        for index in range(10):
            place.clock.now = START + index
            await place.put(f"r{index}", user="ada" if index % 2 else "ben", session="shared")
        place.clock.now = START + 60
        scope = Scope(place.client, "ada")
        seen: list[RequestWithInteractions] = []
        after = None
        for _ in range(MOST_PAGES):
            page = await list_requests(
                scope, TrafficFilter(user_id="ada"), limit=2, budget=Unlimited(), after=after
            )
            seen += page.rows
            if page.cursor is None:
                break
            after = open_cursor(scope, page.cursor, "requests", TrafficFilter(user_id="ada"))
        assert [item.request.request_id for item in seen] == ["r9", "r7", "r5", "r3", "r1"]


@pytest.mark.anyio
async def test_one_single_second_is_paged_in_order_although_the_api_takes_no_such_period() -> None:
    async with embedded() as place:
        for second in (START - 1, START, START + 1):
            place.clock.now = second
            for session in ("a", "m", "z"):
                # Later traffic gives the sessions another order than the wanted second has.
                if (session, second) != ("z", START + 1):
                    await place.put(f"{session}{second - START}", session=session)
        place.clock.now = START + 60
        wanted = TrafficFilter(start=START, end=START)
        found = await pages_of_requests(place, wanted, limit=1, budget=5, arrivals=[])
        assert found == [("z", ["z0"]), ("m", ["m0"]), ("a", ["a0"])]


@pytest.mark.anyio
async def test_a_deletion_in_the_middle_of_a_walk_skips_nothing_that_is_still_there() -> None:
    async with embedded() as place:
        for index in range(12):
            place.clock.now = START + index
            await place.put(f"r{index:02}", session=f"s{index:02}")
        place.clock.now = START + 60
        pager = SessionPager(place.scope, TrafficFilter(), batch=3)
        seen: list[str] = []
        async for session_slice in pager.slices():
            seen.append(session_slice.session_id)
            if len(seen) in (4, 7):
                for shown in seen[len(seen) - 4 : len(seen) - 1]:
                    await place.client.delete_session(shown)
        assert seen == [f"s{index:02}" for index in reversed(range(12))]


@pytest.mark.anyio
async def test_a_made_up_offset_costs_a_few_calls_and_shows_the_same() -> None:
    async with embedded() as place:
        for index in range(6):
            place.clock.now = START + index
            await place.put(f"r{index}", session=f"s{index}")
        place.clock.now = START + 60
        page = await list_requests(place.scope, TrafficFilter(), limit=2, budget=Unlimited())
        assert page.cursor
        honest = open_cursor(place.scope, page.cursor, "requests", TrafficFilter())
        with anyio.fail_after(60):
            found = await list_requests(
                place.scope,
                honest.filter,
                limit=9,
                budget=Unlimited(),
                after=replace(honest, offset=2**37),
            )
        assert [item.request.request_id for item in found.rows] == ["r3", "r2", "r1", "r0"]


class Stuck(ReflexioClient):
    """A service that knows no offsets and always has more."""

    asked = 0

    async def get_requests(self, query: RequestQuery, *, repeat: bool = True) -> RequestPage:
        self.asked += 1
        request = StoredRequest(request_id="r1", user_id="ada", session_id="s1", created_at=START)
        group = SessionGroup(session_id="s1", requests=[RequestWithInteractions(request=request)])
        return RequestPage(sessions=[group], has_more=True, server_time=START + 60)


@pytest.mark.anyio
async def test_pages_that_never_go_on_are_an_error_and_no_endless_loop() -> None:
    stuck = Stuck("http://127.0.0.1:9")
    with anyio.fail_after(60), pytest.raises(NotTheApi):
        async for _ in SessionPager(Scope(stuck), TrafficFilter()).slices():
            pass
    assert stuck.asked < 20
