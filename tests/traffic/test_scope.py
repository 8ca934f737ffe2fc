"""A scope holds although the service does not: every way to stored requests leaves out other users' rows itself."""

from collections.abc import AsyncIterator

import httpx
import pytest

from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.models import RequestPage, RequestQuery, RequestWithInteractions
from reflexio_mcp.traffic.errors import InvalidInput, NotStored
from reflexio_mcp.traffic.learnings.request_with_learnings import read_request
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.listing import list_requests, list_sessions
from reflexio_mcp.traffic.reading.lookup import find_request, read_set
from reflexio_mcp.traffic.scope import Scope
from tests.support.embedded import Clock, Embedded
from tests.support.store_app import StoreApp

pytestmark = pytest.mark.anyio


class Careless(ReflexioClient):
    """A service that ignores the user and the end of the period that it is asked for."""

    async def get_requests(self, query: RequestQuery, *, repeat: bool = True) -> RequestPage:
        return await super().get_requests(query.model_copy(update={"user_id": None, "end_time": None}))


@pytest.fixture
async def place() -> AsyncIterator[Embedded]:
    """Such a service, which holds one session of two users."""
    clock = Clock()
    store = StoreApp(":memory:", clock=clock)
    client = Careless("http://store", transport=httpx.ASGITransport(app=store))
    place = Embedded(client, clock)
    for number in range(6):
        clock.now += 60
        await place.put(f"r{number}", user="ben" if number % 2 else "ada", session="shared")
    clock.now += 60
    yield place
    await client.aclose()
    await store.aclose()


@pytest.fixture
def everybody(place: Embedded) -> Scope:
    """A scope without a user over it."""
    return place.scope


@pytest.fixture
def ada(everybody: Scope) -> Scope:
    return Scope(everybody.client, "ada")


def test_a_scope_is_about_its_user_and_refuses_every_other() -> None:
    scope = Scope(ReflexioClient("http://127.0.0.1:9"), "ada")
    assert scope.user("") == scope.user("ada") == scope.user(" ada ") == "ada"
    assert scope.covers("ada")
    assert not scope.covers("ben")
    assert not scope.covers("")
    for other in ("ben", "Ada", "   "):
        with pytest.raises(InvalidInput):
            scope.user(other)


def test_without_a_user_everybody_is_covered_and_may_be_named() -> None:
    scope = Scope(ReflexioClient("http://127.0.0.1:9"))
    assert scope.user("") == ""
    assert scope.user("ben") == "ben"
    assert scope.covers("ada")
    assert scope.covers("ben")


async def test_a_look_up_by_id_finds_the_scopes_requests_alone(everybody: Scope, ada: Scope) -> None:
    assert await find_request(everybody, "r1")
    assert await find_request(ada, "r0")
    assert await find_request(ada, "r1") is None
    with pytest.raises(NotStored):
        await read_request(ada, "r1")


async def test_lists_hold_the_scopes_requests_alone(everybody: Scope, ada: Scope) -> None:
    for wanted in (TrafficFilter(user_id="ada"), TrafficFilter(session_id="shared"), TrafficFilter()):
        page = await list_requests(ada, wanted, limit=10)
        assert [one.request_id for one in page.requests] == ["r4", "r2", "r0"]
        [row] = (await list_sessions(ada, wanted, limit=10)).sessions
        assert (row.requests, row.not_matching) == (3, 0)
    # Whoever sees everybody can still ask for one.
    page = await list_requests(everybody, TrafficFilter(user_id="ben"), limit=10)
    assert [one.request_id for one in page.requests] == ["r5", "r3", "r1"]
    [row] = (await list_sessions(everybody, TrafficFilter(user_id="ben"), limit=10)).sessions
    assert (row.requests, row.not_matching) == (3, 0)


async def test_what_arrives_between_two_pages_stays_out_although_the_service_sends_it(
    everybody: Scope, place: Embedded
) -> None:
    await place.put("newer", session="other")
    place.clock.now += 60
    first = await list_requests(everybody, TrafficFilter(), limit=1)
    await place.put("late", session="shared")
    rest = await list_requests(everybody, TrafficFilter(), limit=10, cursor=first.cursor or "")
    shown = [one.request_id for one in (*first.requests, *rest.requests)]
    assert shown == ["newer", "r5", "r4", "r3", "r2", "r1", "r0"]


async def test_a_set_is_read_for_its_scope_alone_whichever_way_is_taken(ada: Scope, everybody: Scope) -> None:
    seen: list[str] = []

    async def take(items: list[RequestWithInteractions]) -> None:
        seen.extend(item.request.request_id for item in items)

    ids = [f"r{number}" for number in range(6)]
    missing = [f"missing-{number}" for number in range(40)]
    for asked in (ids, [*ids, *missing]):
        seen.clear()
        await read_set(ada, asked, take)
        assert sorted(seen) == ["r0", "r2", "r4"]
        seen.clear()
        await read_set(everybody, asked, take)
        assert sorted(seen) == ids
