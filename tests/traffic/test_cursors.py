"""A cursor goes on inside the scope of whoever brings it, whatever scope it was made in."""

from typing import Any

import pytest

from reflexio_mcp.rest.models import RequestPage
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.reading.cursors import Cursor, Listing, open_cursor
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.listing import list_requests
from reflexio_mcp.traffic.reading.paging import SessionPager
from reflexio_mcp.traffic.scope import Scope
from tests.support.embedded import START, Embedded, embedded
from tests.traffic.test_pages_against_brute_force import Unlimited

pytestmark = pytest.mark.anyio


def made_for(user_id: str) -> str:
    wanted = TrafficFilter(user_id=user_id)
    return Cursor("requests", wanted, START, 0, START, "s", detail="summary").encode(wanted)


def opened_for(place: Embedded, user_id: str, text: str) -> Cursor:
    scope = Scope(place.client, user_id)
    return open_cursor(scope, text, "requests", TrafficFilter(user_id=user_id))


async def test_a_cursor_over_every_user_goes_on_with_the_scopes_user_alone() -> None:
    async with embedded() as place:
        for number in range(4):
            place.clock.now += 60
            await place.put(f"r{number}", user="ben" if number % 2 else "ada", session=f"s{number}")
        place.clock.now += 60
        page = await list_requests(Scope(place.client), TrafficFilter(), limit=1, budget=Unlimited())
        assert page.cursor
        cursor = opened_for(place, "ada", page.cursor)
        assert cursor.filter.user_id == "ada"
        rest = await list_requests(
            Scope(place.client, "ada"), cursor.filter, limit=10, budget=Unlimited(), after=cursor
        )
        assert [item.request.request_id for item in rest.rows] == ["r2", "r0"]


async def test_a_cursor_over_another_user_is_refused() -> None:
    async with embedded() as place:
        with pytest.raises(InvalidInput, match="is not one that this list gave"):
            opened_for(place, "ada", made_for("ben"))
        assert opened_for(place, "ada", made_for("ada")).filter.user_id == "ada"


async def test_a_cursor_of_another_list_filter_or_detail_is_refused() -> None:
    async with embedded() as place:
        scope = Scope(place.client)
        text = made_for("ada")
        wrong: tuple[tuple[Listing, TrafficFilter, str], ...] = (
            ("sessions", TrafficFilter(user_id="ada"), "summary"),
            ("requests", TrafficFilter(user_id="ben"), "summary"),
            ("requests", TrafficFilter(user_id="ada", source="ide"), "summary"),
            ("requests", TrafficFilter(user_id="ada"), "full"),
        )
        for listing, asked, detail in wrong:
            with pytest.raises(InvalidInput):
                open_cursor(scope, text, listing, asked, detail)
        # A cursor carries its whole question, so nothing need be asked beside it.
        for asked in (TrafficFilter(user_id="ada"), TrafficFilter()):
            assert open_cursor(scope, text, "requests", asked).filter.user_id == "ada"


async def test_a_cursor_that_no_audit_gave_is_not_called_one_of_a_list() -> None:
    async with embedded() as place:
        for text in ("made up", made_for("ada")):
            with pytest.raises(InvalidInput, match="is not one that an audit gave; start again without it"):
                open_cursor(Scope(place.client), text, "audit", TrafficFilter())


async def test_a_cursor_belongs_to_the_key_that_it_was_made_with() -> None:
    async with embedded() as place:
        wanted = TrafficFilter(user_id="ada")
        text = Cursor("requests", wanted, START, 0, START, "s", detail="summary").encode(wanted, "one key")
        assert open_cursor(Scope(place.client, caller="one key"), text, "requests", wanted)
        for caller in ("another key", ""):
            with pytest.raises(InvalidInput, match="is not one that this list gave"):
                open_cursor(Scope(place.client, caller=caller), text, "requests", wanted)


@pytest.mark.parametrize("offset", [True, -1, 10**15, "0", None, 0.5])
async def test_a_made_up_place_is_refused(offset: Any) -> None:
    async with embedded() as place:
        text = Cursor("requests", TrafficFilter(), START, offset, START, "s").encode(TrafficFilter())
        with pytest.raises(InvalidInput, match="is not one that this list gave"):
            open_cursor(place.scope, text, "requests", TrafficFilter())


async def test_many_deletions_before_the_place_are_walked_back_in_few_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with embedded() as place:
        for number in range(80):
            place.clock.now += 60
            await place.put(f"r{number:02}", session=f"s{number:02}")
        place.clock.now += 60
        calls = 0
        pager = SessionPager(place.scope, TrafficFilter(), batch=1)
        seen: list[str] = []
        async for part in pager.slices():
            seen += [item.request.request_id for item in part.requests]
            if len(seen) == 60:
                for one in seen:
                    await place.client.delete_request(one)
                ask = place.client.get_requests

                async def counted(*args: Any, **named: Any) -> RequestPage:
                    nonlocal calls
                    calls += 1
                    return await ask(*args, **named)  # noqa: B023 - set once

                monkeypatch.setattr(place.client, "get_requests", counted)
            if len(seen) == 61:
                break
        assert seen == [f"r{number:02}" for number in reversed(range(19, 80))]
        assert calls < 12
