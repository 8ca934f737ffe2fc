"""What the embedded store leaves out of a search changes nothing that is found."""

import asyncio
import json
import tempfile
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reflexio_mcp.embedded_store import routes
from reflexio_mcp.embedded_store.app import EmbeddedStore
from reflexio_mcp.embedded_store.database import Database
from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.models import Search
from reflexio_mcp.traffic.reading import listing, paging
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.listing import list_requests, list_sessions
from reflexio_mcp.traffic.scope import Scope
from tests.rest.helpers import FakeTime
from tests.support.embedded import START

DEEP = "[…"
"""Stands for tool data that no JSON reader of Python reads."""

STORED_DEEP = "[" * 200_000

MOST_PAGES = 60

T = TypeVar("T")

SPELLINGS = (
    ("apple", "APPLES", "app\xadle", "a\u200bpple"),
    ("Äpfel", "A\u0308PFEL", "äpfel"),
    ("\u017ftraße", "STRASSE", "strasse"),
    ("İstanbul", "istanbul", "I\u0307STANBUL"),
    ("\ufb01ne", "FINE", "\uff46\uff49\uff4e\uff45"),
    ("\u1112\u1161\u11ab", "한"),
    ("か\u3099", "が"),
    ("\u212aelvin", "kelvin"),
    ("two words", "two\nwords", "two\x1c words", "two\u3000words"),
    ("o\u0301\u0328", "o\u0328\u0301"),
    ("👩\u200d💻", "👩💻"),
)
"""Spellings that a search takes for the same."""

names = st.sampled_from(["", "ci", "my-test", "Über-test", "e2e-1", "ab-test", "prod", "staging_agent"])


def used(text: str) -> str:
    """Tool data as it is stored: escaped JSON."""
    return json.dumps([{"tool_name": text, "tool_data": {"a": [text, 1.5, None]}}])


@dataclass(frozen=True)
class Row:
    session: str
    user: str
    source: str
    version: str
    evaluation_only: bool
    second: int
    content: str
    expert: str
    tool: str
    image: str


@dataclass(frozen=True)
class Case:
    """A store, and what is asked of it."""

    stored: list[Row]
    wanted: TrafficFilter


def rarely(values: st.SearchStrategy[T], otherwise: T) -> st.SearchStrategy[T]:
    return st.one_of(*[st.just(otherwise)] * 6, values)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    spellings = st.sampled_from(draw(st.sampled_from(SPELLINGS)))
    texts = st.just("") | st.tuples(
        st.sampled_from(["", "x", "- ", "é\n"]), spellings, st.sampled_from(["", "\x00", "."])
    ).map("".join)
    rows = st.builds(
        Row,
        session=st.sampled_from(["s1", "s2", "s3", "s4", "s5", "tmp-é"]) | spellings,
        user=st.sampled_from(["ada", "ada", "ben@test", "qa-1"]),
        source=names,
        version=names,
        evaluation_only=st.booleans(),
        second=st.integers(START, START + 9),
        content=texts,
        expert=rarely(texts, ""),
        tool=rarely(texts.map(used) | st.just(DEEP), "[]"),
        image=rarely(texts, ""),
    )
    words = st.builds("{}{}".format, spellings, st.sampled_from(["", "", "", " OR other", " x", " s1"]))
    wanted = st.builds(
        TrafficFilter,
        user_id=rarely(st.just("ada"), ""),
        session_id=rarely(st.just("s2"), ""),
        source=rarely(st.just("ci"), ""),
        agent_version=rarely(st.sampled_from(["prod", "my-test"]), ""),
        start_time=rarely(st.integers(START, START + 9), None),
        end_time=rarely(st.integers(START, START + 9), None),
        contains=st.just("") | words | words,
        finding=rarely(st.sampled_from(["test-traffic", "test-traffic", "duplicate"]), ""),
        evaluation_only=rarely(st.sampled_from(["only", "never"]), ""),
    ).filter(lambda one: one.start_time is None or one.end_time is None or one.start_time <= one.end_time)
    return Case(draw(st.lists(rows, max_size=14)), draw(wanted))


def fill(path: Path, stored: list[Row]) -> None:
    database = Database(str(path))
    with database.writing() as connection:
        for number, row in enumerate(stored):
            tool = STORED_DEEP if row.tool == DEEP else row.tool
            connection.execute(
                "INSERT INTO requests VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)",
                [
                    f"r{number:02}",
                    row.session,
                    row.user,
                    row.second,
                    row.source,
                    row.version,
                    row.evaluation_only,
                ],
            )
            connection.execute(
                "INSERT INTO interactions VALUES (NULL, ?, ?, 'User', ?, 'none', '', ?, '', ?, ?, '[]', '[]', '')",
                [number + 1, row.second, row.content, row.image, row.expert, tool],
            )
    database.close()


@asynccontextmanager
async def opened(path: Path) -> AsyncGenerator[ReflexioClient]:
    store = EmbeddedStore(str(path), clock=lambda: START + 60)
    client = ReflexioClient("http://store.invalid", transport=lambda: store, sleep=FakeTime().sleep)
    try:
        yield client
    finally:
        await client.aclose()


@dataclass
class Listed:
    """What the pages of a list say: each row with its session, and how the list ends."""

    rows: list[tuple[str, object]]
    pages: list[object]
    totals: set[int]
    unreadable: bool


async def listed(scope: Scope, wanted: TrafficFilter, kind: str, limit: int, deletions: list[int]) -> Listed:
    """Read a list page by page, with a deletion after each."""
    found = Listed([], [], set(), False)
    cursor, left = "", list(deletions)
    for _ in range(MOST_PAGES):
        asked = TrafficFilter() if cursor else wanted
        if kind == "requests":
            page = await list_requests(scope, asked, limit=limit, cursor=cursor)
            found.rows += [(one.session_id, (one.not_matching, one.requests)) for one in page.sessions]
        else:
            page = await list_sessions(scope, asked, limit=limit, cursor=cursor)
            found.rows += [(one.session_id, one) for one in page.sessions]
        found.pages.append((page.returned, page.looked_at.complete, page.facts))
        if page.total is not None:  # how far a call looks decides when the total is known
            found.totals.add(page.total)
        found.unreadable = found.unreadable or bool(page.unreadable)
        if not page.cursor:
            return found
        cursor = page.cursor
        if left:
            await scope.client.delete_requests_by_ids([f"r{left.pop():02}"])
    raise AssertionError("the list has no end")


SMALL = (
    (routes, "SESSIONS_AT_FIRST", 2),
    (routes, "SESSIONS_AT_ONCE", 3),
    (routes, "SESSIONS_FOUND", 1),
    (paging, "SESSIONS_SEARCHED", 3),
    (paging, "PAGE_BYTES", 60),
    (listing, "SESSIONS_AT_ONCE", 2),
)


@contextmanager
def small_pages(small: bool) -> Generator[None]:
    """Pages of few sessions, so that a few requests need several.

    The clock stands still: a session that cannot be read is read in periods before now, and both stores need the same.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paging.time, "time", lambda: START + 61.0)
        for module, name, value in SMALL if small else ():
            patch.setattr(module, name, value)
        yield


async def compare(case: Case, kind: str, limit: int, deletions: list[int]) -> None:
    """Read two equal stores, one with and one without what only the embedded store can do."""
    found: list[Listed] = []
    with tempfile.TemporaryDirectory() as folder:
        for embedded in (False, True):
            path = Path(folder) / f"{embedded}.db"
            fill(path, case.stored)
            async with opened(path) as client:
                scope = Scope(client, learns=False, embedded=embedded)
                found.append(await listed(scope, case.wanted, kind, limit, deletions))
    plain, searched = found
    assert searched.rows == plain.rows
    if not deletions:
        assert len(plain.totals | searched.totals) <= 1
    if not plain.unreadable:
        assert searched.pages == plain.pages
    # A session that cannot be read, and has another version, is left out without being read. Of another one a page
    # tells, but how the pages were cut decides which.
    elif case.wanted.search in (None, Search(contains=case.wanted.contains)):
        assert searched.unreadable


def test_a_list_ends_behind_a_session_that_was_left_out_and_cannot_be_read_where_a_page_begins() -> None:
    """A search names such a session without reading it, and the page that begins with it cannot be read."""
    stored = [
        Row("tmp", "ada", "", "old", False, START + 3, "", "", DEEP, ""),
        Row("s2", "ada", "", "prod", False, START + 3, "", "", DEEP, ""),
        Row("s1", "ada", "", "prod", False, START + 6, "apple", "", "[]", ""),
        Row("s3", "ada", "", "old", False, START + 6, "apple", "", "[]", ""),
    ]
    wanted = TrafficFilter(user_id="ada", agent_version="prod", contains="apple")
    with small_pages(True):
        asyncio.run(asyncio.wait_for(compare(Case(stored, wanted), "sessions", 3, []), 60))


def test_a_list_whose_newest_session_cannot_be_read_shows_the_same_with_pages_of_few_sessions() -> None:
    """The service does not tell the second of that session. Later pages end where the first one did."""
    others = [Row(f"s{n}", "ada", "", "", False, START, "", "", "[]", "") for n in (1, 2, 3, 4)]
    newest = Row("APPLES", "ada", "", "", False, START + 1, "", "", DEEP, "")
    earlier = Row("APPLES", "ada", "", "ci", False, START, "", "", "[]", "")
    wanted = TrafficFilter(finding="test-traffic")
    with small_pages(False):
        asyncio.run(
            asyncio.wait_for(compare(Case([*others, newest, earlier], wanted), "requests", 1, []), 60)
        )


def found_alike(examples: int) -> Callable[[], None]:
    @settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        case=cases(),
        kind=st.sampled_from(["requests", "sessions"]),
        limit=st.integers(1, 5),
        deletions=st.lists(st.integers(0, 13), max_size=5),
        small=st.booleans(),
    )
    def check(case: Case, kind: str, limit: int, deletions: list[int], small: bool) -> None:
        with small_pages(small):
            asyncio.run(compare(case, kind, limit, deletions))

    return check


def test_the_same_requests_are_found_with_the_search_of_the_store_and_without() -> None:
    found_alike(150)()


@pytest.mark.ci
def test_the_same_requests_are_found_in_many_more_stores() -> None:
    found_alike(990)()
