"""A cursor goes on inside the scope and the question that it was made for, and nowhere else."""

from typing import Any

import pytest

from reflexio_mcp.rest.models import RequestPage
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.reading.cursors import Cursor, Listing, decode_cursor, encode_cursor, open_cursor
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.paging import SessionPager
from reflexio_mcp.traffic.scope import Scope
from tests.support.embedded import START, embedded

pytestmark = pytest.mark.anyio

NOT_OURS = "is not a cursor of this call"


def made(scope: Scope, wanted: TrafficFilter, **place: Any) -> str:
    return Cursor("requests", wanted, **{**PLACE, **place}, detail="summary").encode(scope, wanted)


PLACE: dict[str, Any] = {"frozen": START, "offset": 0, "newest": START, "session_id": "s"}


async def test_a_cursor_of_another_list_filter_or_detail_is_refused() -> None:
    async with embedded() as place:
        ada = TrafficFilter(user_id="ada")
        text = made(place.scope, ada)
        wrong: tuple[tuple[Listing, TrafficFilter, str], ...] = (
            ("sessions", ada, "summary"),
            ("requests", TrafficFilter(user_id="ben"), "summary"),
            ("requests", TrafficFilter(user_id="ada", source="ide"), "summary"),
            ("requests", TrafficFilter(user_id="ada", evaluation_only="only"), "summary"),
            ("requests", TrafficFilter(user_id="ada", start_time=START), "summary"),
            ("requests", TrafficFilter(user_id="ada", end_time=START), "summary"),
            ("requests", ada, "full"),
        )
        for listing, asked, detail in wrong:
            with pytest.raises(InvalidInput):
                open_cursor(place.scope, text, listing, asked, detail)
        # A cursor carries its whole question, so nothing need be asked beside it.
        for asked in (ada, TrafficFilter()):
            assert open_cursor(place.scope, text, "requests", asked).filter.user_id == "ada"


async def test_a_cursor_belongs_to_the_key_and_the_user_that_it_was_made_for() -> None:
    async with embedded() as place:
        mine = Scope(place.client, "ada", caller="one key")
        text = made(mine, TrafficFilter(user_id="ada"))
        assert open_cursor(mine, text, "requests", TrafficFilter(user_id="ada"))
        others = (
            Scope(place.client, "ada", caller="another key"),
            Scope(place.client, "ben", caller="one key"),
            Scope(place.client, caller="one key"),
        )
        for scope in others:
            with pytest.raises(InvalidInput, match=NOT_OURS):
                open_cursor(scope, text, "requests", TrafficFilter(user_id=scope.user_id))


async def test_a_made_up_cursor_cannot_widen_a_scope_or_look_for_words_under_the_mask() -> None:
    async with embedded() as place:
        ada = Scope(place.client, "ada")
        with pytest.raises(InvalidInput, match=NOT_OURS):
            open_cursor(
                ada, made(ada, TrafficFilter(user_id="ben")), "requests", TrafficFilter(user_id="ada")
            )
        opened = open_cursor(ada, made(ada, TrafficFilter()), "requests", TrafficFilter(user_id="ada"))
        assert opened.filter.user_id == "ada"
        many_words = TrafficFilter(user_id="ada", contains="x " * 1000)
        with pytest.raises(InvalidInput, match=NOT_OURS):
            open_cursor(ada, made(ada, many_words), "requests", TrafficFilter(user_id="ada"))
        masked = Scope(place.client, masked=True)
        with pytest.raises(InvalidInput, match=NOT_OURS):
            open_cursor(masked, made(masked, TrafficFilter(contains="x")), "requests", TrafficFilter())


@pytest.mark.parametrize("offset", [True, -1, 10**15, "0", None, 0.5])
async def test_a_made_up_place_is_refused(offset: Any) -> None:
    async with embedded() as place:
        text = made(place.scope, TrafficFilter(), offset=offset)
        with pytest.raises(InvalidInput, match=NOT_OURS):
            open_cursor(place.scope, text, "requests", TrafficFilter())


@pytest.mark.parametrize("text", ["made up", "", "e" * 30_000, "[]", "eNqLjgUAARUAuQ"])
async def test_what_is_no_cursor_is_refused_in_one_sentence(text: str) -> None:
    async with embedded() as place:
        with pytest.raises(InvalidInput, match=NOT_OURS):
            open_cursor(place.scope, text, "audit", TrafficFilter())


async def test_a_place_belongs_to_one_question() -> None:
    async with embedded() as place:
        text = encode_cursor("request", place.scope, "r1", [3, 800])
        assert decode_cursor(text, "request", place.scope, "r1") == [3, 800]
        with pytest.raises(InvalidInput, match="belongs to another call"):
            decode_cursor(text, "request", place.scope, "r2")


async def test_many_deletions_before_the_place_are_walked_back_in_few_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with embedded() as place:
        for number in range(80):
            place.clock.now += 60
            await place.put(f"r{number:02}", session=f"s{number:02}")
        place.clock.now += 60
        calls = 0
        ask = place.client.get_requests

        async def counted(*args: Any, **named: Any) -> RequestPage:
            nonlocal calls
            calls += 1
            return await ask(*args, **named)

        pager = SessionPager(place.scope, TrafficFilter(), batch=1)
        seen: list[str] = []
        async for part in pager.parts():
            seen += [item.request.request_id for item in part.requests]
            if len(seen) == 60:
                for one in seen:
                    await place.client.delete_requests_by_ids([one])
                monkeypatch.setattr(place.client, "get_requests", counted)
            if len(seen) == 61:
                break
        assert seen == [f"r{number:02}" for number in reversed(range(19, 80))]
        assert calls < 12
